"""The peak memory of a command, measured by a small parent of its own.

A process's own figure (ru_maxrss) keeps the peak of whoever forked it, and a test run has grown large.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Sequence


def measuring(command: Sequence[str], report: str) -> list[str]:
    """The command that runs ``command`` and writes its peak memory to the file ``report``."""
    return [sys.executable, "-I", "-S", __file__, report, *command]


def measured_bytes(report: str) -> int:
    """What ``measuring`` wrote: of the largest of the command's processes that were waited for."""
    with open(report, encoding="ascii") as file:
        return int(file.read())


def _main() -> int:
    child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write(str(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024))
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(_main())
