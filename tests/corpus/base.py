"""The image ``base`` that most cases begin with."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from corpus.case import CONTEXT_TIME

_APPLETS = (
    "sh", "cat", "echo", "ls", "env", "sort", "id", "stat", "mkdir", "touch", "rm", "true", "false", "pwd", "grep",
    "chmod", "chown", "ln", "head", "printf", "sed", "cp", "mv", "test", "wc", "find", "awk", "hostname",
)  # fmt: skip


def base_archive() -> bytes:
    """The root file system of the image ``base``: a static busybox, users, and what a copy may stumble on."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:

        def add(
            path: str, mode: int, owner: tuple[int, int] = (0, 0), data: bytes | None = None, link: str = ""
        ) -> None:
            entry = tarfile.TarInfo(path)
            entry.mode, entry.mtime = mode, CONTEXT_TIME - 1000
            entry.uid, entry.gid = owner
            if link:
                entry.type, entry.linkname = tarfile.SYMTYPE, link
            elif data is None:
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data) if data is not None else None)

        for directory in ("bin", "etc", "home", "dev", "proc", "sys"):
            add(directory, 0o755)
        add("root", 0o700)
        add("tmp", 0o1777)
        add("home/app", 0o750, (1000, 1000))
        add("bin/busybox", 0o755, data=Path("/bin/busybox").read_bytes())
        for applet in _APPLETS:
            add(f"bin/{applet}", 0o777, link="busybox")
        add(
            "etc/passwd", 0o644,
            data=b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\nother:x:1001:100::/:/bin/sh\n",
        )  # fmt: skip
        add("etc/group", 0o644, data=b"root:x:0:\nusers:x:100:\nstaff:x:50:app\nextra:x:77:app,other\napp:x:1000:\n")
        add("kept", 0o750, (5, 6))
        add("kept/old", 0o600, (5, 6), b"old\n")
        add("to-kept", 0o777, link="/kept")
        add("escape", 0o777, link="../../../../kept")
        add("a-file", 0o644, data=b"a file\n")
        add("to-file", 0o777, link="a-file")
        add("dangling", 0o777, link="/nowhere/at/all")
    return made.getvalue()


BASE_CHANGES = ('CMD ["sh", "-l"]', "ENV PATH=/bin", "ENV FROM_BASE=yes")
