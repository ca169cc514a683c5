"""``cais context ls``."""

from __future__ import annotations

from cais.cli.context_flags import contexts
from cais.cli.declare import Command, Flag
from cais.cli.list_flags import list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "List contexts",
    aliases=("context ls", "context list"),
    flags=(list_format(), Flag("quiet", "q", "", "Only show context names")),
    examples=("cais context ls",),
)


def run(call: Call) -> int:
    import os

    from cais.cli.call import warn
    from cais.cli.place import current, overriding
    from cais.cli.table import show
    from cais.engine.contexts import DEFAULT

    name = current({}, os.environ)
    fields = {
        "Current": lambda context: context.name == name,
        "Description": lambda context: context.description or _default(context.name == DEFAULT),
        "DockerEndpoint": lambda context: context.endpoint.shown,
        "Error": lambda context: "",
        "Name": lambda context: context.name,
        "NameStar": lambda context: context.name + (" *" if context.name == name else ""),
    }
    headers = {
        "Current": "CURRENT", "Description": "DESCRIPTION", "DockerEndpoint": "DOCKER ENDPOINT", "Error": "ERROR",
        "Name": "NAME", "NameStar": "NAME",
    }  # fmt: skip
    if call["format"] not in ("", "table"):
        del fields["NameStar"]
    show(
        contexts().all(), fields, headers, ("NameStar", "Description", "DockerEndpoint", "Error"), kind="context",
        format=call["format"], quiet="Name" if call["quiet"] else "",
    )  # fmt: skip
    variable = overriding(os.environ)
    if variable and not call["quiet"]:
        warn(f"Warning: {variable} environment variable overrides the active context.")
    return 0


def _default(default: bool) -> str:
    return "This host, and the user's own root directory" if default else ""
