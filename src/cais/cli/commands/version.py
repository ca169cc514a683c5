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
    facts = {
        "Version": __version__,
        "PythonVersion": sys.version.split()[0],
        "Os": "linux",
        "Arch": architecture,
        "KernelVersion": host.release,
    }
    if call["format"]:
        from cais.cli.documents import formatted

        # There is no daemon: client and server are the same program.
        say(formatted({"Client": facts, "Server": facts}, call["format"], name="version"))
        return 0
    say(
        f"Cais:\n Version:           {__version__}\n Python version:    {facts['PythonVersion']}\n"
        f" OS/Arch:           linux/{architecture}\n Kernel version:    {host.release}"
    )
    return 0
