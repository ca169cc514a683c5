"""The errors of Cais: one tree, a closed set of kinds.

    CaisError
    ├── Invalid        what was asked makes no sense: a bad name, flag, Dockerfile, archive entry
    ├── NotFound       no such image, container, volume, blob, file
    ├── Conflict       it is in use, or the name is taken
    ├── Denied         the system or a rule forbids it
    ├── Unauthorized   who asks is not known
    ├── Unavailable    a needed program, service or resource is not there now (no space left, too)
    ├── Unsupported    understood, and not done by this version or on this host
    ├── Corrupt        stored or received bytes are not what their digest, size or type says
    ├── Cancelled      the user stopped it
    └── Failed         it ran, and failed (a RUN step, a child process)

A room may subclass a kind beside the code that raises it; it never adds a kind. ``TABLE`` maps a kind to what each door
shows. A message says what was wrong, with which value; ``hint`` says what to do next.
"""

from __future__ import annotations


class CaisError(Exception):
    """What every error that Cais raises on purpose is.

    ``message`` is one or more full lines without a trailing newline. ``hint`` is what the user can do, or "".
    ``exit_code`` overrides the table (a RUN step's own code, 125/126/127 of a container).
    """

    kind = "failed"
    # Which lines (first, last; from 1) of a user's file it is about, and those lines as a door prints them.
    span: tuple[int, int] | None = None
    lines = ""
    build_id = ""  # of the build that it ended, whose log and record are kept

    def __init__(self, message: str, *, hint: str = "", exit_code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self._exit_code = exit_code

    @property
    def exit_code(self) -> int:
        return TABLE[self.kind][0] if self._exit_code is None else self._exit_code

    def __str__(self) -> str:
        return self.message


class Invalid(CaisError):
    kind = "invalid"


class NotFound(CaisError):
    kind = "not_found"


class Conflict(CaisError):
    kind = "conflict"


class Denied(CaisError):
    kind = "denied"


class Unauthorized(CaisError):
    kind = "unauthorized"


class Unavailable(CaisError):
    kind = "unavailable"


class Unsupported(CaisError):
    kind = "unsupported"


class Corrupt(CaisError):
    kind = "corrupt"


class Cancelled(CaisError):
    kind = "cancelled"


class Failed(CaisError):
    kind = "failed"


# kind: (exit code, HTTP status, OCI distribution error code)
TABLE: dict[str, tuple[int, int, str]] = {
    "invalid": (1, 400, "UNSUPPORTED"),
    "not_found": (1, 404, "NAME_UNKNOWN"),
    "conflict": (1, 409, "DENIED"),
    "denied": (1, 403, "DENIED"),
    "unauthorized": (1, 401, "UNAUTHORIZED"),
    "unavailable": (1, 503, "UNAVAILABLE"),
    "unsupported": (1, 501, "UNSUPPORTED"),
    "corrupt": (1, 400, "DIGEST_INVALID"),
    "cancelled": (130, 499, "UNSUPPORTED"),
    "failed": (1, 500, "UNSUPPORTED"),
}


def from_os_error(error: OSError, doing: str) -> CaisError:
    """An ``OSError`` as the kind it is, saying what was being done (``doing``: "write the blob sha256:..")."""
    import errno
    import os

    code = error.errno or 0
    reason = os.strerror(code) if code else str(error)
    path = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else ""
    where = f" ({path})" if path and path not in doing else ""
    text = f"cannot {doing}: {reason}{where}"
    if code in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(text, hint="Free some space (cais system df, cais image prune) and run it again.")
    if code == errno.EROFS:
        return Unavailable(text, hint="The file system is read-only: choose another root directory with CAIS_ROOT.")
    if code in (errno.EACCES, errno.EPERM):
        return Denied(text)
    if code == errno.ENOENT:
        return NotFound(text)
    return Failed(text)
