"""``cais inspect``: a container, an image, a network or a volume, whichever has the name."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import inspect_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    "Return low-level information on images, containers, networks and volumes",
    arguments=(1, None),
    complete="object",
    flags=(
        inspect_format(),
        Flag("size", "s", "", "Display total file sizes if the type is container"),
        Flag("type", "", "string", "Only inspect objects of the given type", complete="container,image,network,volume"),
    ),
    examples=("cais inspect app", "cais inspect --type image -f '{{.Id}}' debian"),
)


def run(call: Call) -> int:
    from cais.cli.documents import inspect
    from cais.errors import Invalid, NotFound

    engine, kind = call.engine, call["type"]
    finders: dict[str, Callable[[str], Any]] = {
        "container": lambda name: engine.containers.inspect(name, size=call["size"]),
        "image": lambda name: engine.images.inspect(name),
        "network": lambda name: engine.networks.inspect(name),
        "volume": lambda name: engine.volumes.inspect(name),
    }
    if kind and kind not in finders:
        raise Invalid(f'unknown type: "{kind}": must be one of "container", "image", "network" or "volume"')
    if "type" in call.said and not kind:
        raise Invalid('type is empty: must be one of "container", "image", "network" or "volume"')

    def find(name: str) -> Any:
        if kind:
            return finders[kind](name)
        for finder in finders.values():
            try:
                return finder(name)
            except NotFound:
                continue
            except Invalid as error:
                # What cannot be the name of one kind may be that of another.
                if "multiple IDs" in error.message:
                    raise
        raise NotFound(f"No such object: {name}")

    return inspect(call.arguments, find, call["format"])
