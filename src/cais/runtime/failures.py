"""Why the runtime did not start a process, as Docker says it and with its exit codes (125, 126, 127)."""

from __future__ import annotations

from cais.errors import CaisError, Failed, NotFound
from cais.spec.encoding import decode

_NOT_FOUND = ("executable file not found", "not found in $path", "no such file or directory")
_NOT_EXECUTABLE = ("permission denied", "is a directory", "exec format error")
# What crun says of a directory that should be executed.
_CRUN_DIRECTORY = "open executable: operation not permitted"
_HINTS = (
    # What crun says where it may not set up the loopback of a new network.
    (
        "siocsifflags): operation not permitted",
        "Without CAP_NET_ADMIN there is no network but the host's: --network host.",
    ),
    # ... and with control groups of the second version, whose rules of devices are a program in locked memory.
    (
        "setrlimit (rlim_memlock): operation not permitted",
        "crun needs CAP_SYS_RESOURCE here, or locked memory without a limit. runc does not: --runtime runc.",
    ),
)


def explain(message: str, args: list[str], runtime: str) -> CaisError:
    """The error for what the runtime logged. ``args`` is what it should have run."""
    text = message.strip()
    lower = text.lower()
    what = args[0] if args else ""
    # Only what concerns the executable itself is 126 or 127: a missing mount source has the same words.
    about_the_program = what != "" and (
        f"`{what.lower()}`" in lower
        or f'"{what.lower()}"' in lower
        or lower.startswith(("exec:", "open executable", "executable file", "exec container process"))
        or "exec: " in lower
    )
    if _CRUN_DIRECTORY in lower:
        return Failed(f'exec: "{what}": permission denied', exit_code=126)
    if about_the_program and "chdir" not in lower and "cwd" not in lower:
        if any(words in lower for words in _NOT_FOUND):
            if "/" not in what:
                return NotFound(f'exec: "{what}": executable file not found in $PATH', exit_code=127)
            return NotFound(
                f'exec: "{what}": no such file or directory',
                hint="If the file is there, its interpreter (the #! line, or the ELF loader) may be missing.",
                exit_code=127,
            )
        for words in _NOT_EXECUTABLE:
            if words in lower:
                return Failed(f'exec: "{what}": {words}', exit_code=126)
    hint = next((text for words, text in _HINTS if words in lower), "")
    return Failed(f"{runtime} could not start the container: {text}", hint=hint, exit_code=125)


def read_log(text: str) -> str:
    """The errors in a runtime's JSON log, the last one last; "" where there are none."""
    found = []
    for line in text.splitlines():
        try:
            entry = decode(line)
        except ValueError:
            if line.strip():
                found.append(line.strip())
            continue
        if isinstance(entry, dict) and str(entry.get("level", "")) in ("error", "fatal"):
            found.append(str(entry.get("msg", "")))
    return "; ".join(dict.fromkeys(item for item in found if item))


def logged(path: str) -> str:
    """The errors that a runtime has logged into a file so far, or ""."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 16)
    except FileNotFoundError:
        return ""
    return read_log(text) if text else ""
