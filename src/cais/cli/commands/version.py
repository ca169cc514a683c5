"""``cais version``."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import inspect_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call


COMMAND = Command(
    "[OPTIONS]",
    "Show the Cais version information",
    flags=(inspect_format(),),
    examples=("cais version", "cais version --format '{{.Client.Version}}'"),
)


def run(call: Call) -> int:
    import os
    import sys

    from cais import __version__
    from cais.cli.call import say

    host = os.uname()
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(host.machine, host.machine)
    python = sys.version.split()[0]
    common = {"Version": __version__, "PythonVersion": python, "Os": "linux", "Arch": architecture}
    client = {**common, "Context": "default"}
    # There is no daemon: client and server are the same program.
    server = {
        "Platform": {"Name": "Cais"},
        **common,
        "KernelVersion": host.release,
        "Components": [{"Name": "Engine", "Version": __version__, "Details": {"KernelVersion": host.release}}],
        "Experimental": False,
    }
    if call["format"]:
        from cais.cli.documents import formatted

        say(formatted({"Client": client, "Server": server}, call["format"], name="version"))
        return 0
    say(
        f"Client: Cais\n Version:           {__version__}\n Python version:    {python}\n"
        f" OS/Arch:           linux/{architecture}\n Context:           default\n\n"
        f"Server: Cais\n Engine:\n  Version:          {__version__}\n  Python version:   {python}\n"
        f"  OS/Arch:          linux/{architecture}\n  Kernel version:   {host.release}\n  Experimental:     false"
    )
    return 0
