"""``cais version``: in the layout of Docker's, with all fields that templates may ask for."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import inspect_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call


COMMAND = Command(
    "[OPTIONS]",
    "Show the Cais version information",
    flags=(inspect_format(),),
    examples=("cais version", "cais version --format '{{.Client.Version}}'"),
)

# Of Docker's Engine API, whose documents ``inspect``, ``info`` and the others print.
API_VERSION, MIN_API_VERSION = "1.45", "1.24"


def run(call: Call) -> int:
    from cais.cli.call import say

    found = facts()
    if call["format"]:
        from cais.cli.documents import formatted

        say(formatted(found, call["format"], name="version"))
        return 0
    client, server = found["Client"], found["Server"]
    say(
        f"Client: Cais\n Version:           {client['Version']}\n API version:       {API_VERSION}\n"
        f" Python version:    {client['PythonVersion']}\n OS/Arch:           linux/{client['Arch']}\n"
        f" Context:           {client['Context']}\n\n"
        f"Server: Cais\n Engine:\n  Version:          {server['Version']}\n"
        f"  API version:      {API_VERSION} (minimum version {MIN_API_VERSION})\n"
        f"  Python version:   {server['PythonVersion']}\n  OS/Arch:          linux/{server['Arch']}\n"
        f"  Kernel version:   {server['KernelVersion']}\n  Experimental:     false"
    )
    return 0


def facts(context: str = "default") -> dict[str, Any]:
    """Named as Docker's. There is no daemon: client and server are the same program; what has no meaning here is "".

    ``context``: the name of the current one.
    """
    import os
    import sys

    from cais import __version__

    host = os.uname()
    common = {
        "Platform": {"Name": "Cais"},
        "Version": __version__,
        "ApiVersion": API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "PythonVersion": sys.version.split()[0],
        "Os": "linux",
        "Arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(host.machine, host.machine),
        "BuildTime": "",
    }
    engine = {**common, "MinAPIVersion": MIN_API_VERSION, "KernelVersion": host.release}
    details = {key: value for key, value in engine.items() if key not in ("Platform", "Version")}
    return {
        "Client": {**common, "DefaultAPIVersion": API_VERSION, "Context": context},
        "Server": {
            **engine,
            "Experimental": False,
            "Components": [{"Name": "Engine", "Version": __version__, "Details": {**details, "Experimental": "false"}}],
        },
    }
