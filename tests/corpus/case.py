"""A build case: one text file with the Dockerfile, the context and the options, beside it what comes out.

    # What it shows.
    build-arg: X=1              options of `build` (OPTIONS), any number of times; {beside} in a value is the directory
                                that the context stands in
    env: NAME=value             of the client
    stdin: gz                   the context is given there: as a tar, plain (tar) or compressed (gz, bz2, xz); or a file
                                beside or in the context, as the Dockerfile (with `file: -`, of the directory)
    needs-docker: 23            the first version of Docker whose BuildKit does it
    differs: why                Docker gives something else, and Cais does not follow it
    differs-podman: why         the same of Podman (which is Buildah)
    fails: text                 the build fails in both; Cais's error has this text
    warns: Rule:LINE ...        what `build --check` finds, in the order of the lines; "nothing"
    --- Dockerfile
    FROM base
    --- "a file.txt" 0600       files are 0644 without a mode; "bom" and "crlf" behind it say how the text is written
    text
    --- ../other/file           beside the context: for named contexts, secrets, a Dockerfile elsewhere
    --- link to target
    --- dir empty 0700
    --- socket name 0600
    --- tar a.tar.gz gz         each line of its text: PATH MODE UID:GID [TEXT, -> TARGET for a link, / for a directory]

``NAME.json`` keeps what the image is: config, history, number of layers, and the files that are not the base's.
"""

from __future__ import annotations

import io
import json
import os
import shlex
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

CASES = Path(__file__).parent / "cases"
# Everything in a context was last changed then.
CONTEXT_TIME = 1_600_000_000
OPTIONS = (
    "add-host", "allow", "annotation", "build-arg", "build-context", "file", "label", "network", "no-cache",
    "no-cache-filter", "platform", "secret", "shm-size", "ssh", "target", "ulimit",
)  # fmt: skip


class Case(NamedTuple):
    """``name`` is ``subject/name``. ``parts`` are the headers behind ``---``, split, with the text below each."""

    name: str
    path: Path
    options: tuple[tuple[str, str], ...]
    env: Mapping[str, str]
    fails: str
    differs: str
    differs_podman: str
    needs_docker: int
    parts: tuple[tuple[list[str], str], ...]
    warns: str = ""
    stdin: str = ""

    def flags(self, beside: Path) -> list[str]:
        return [
            f"--{name}" + (f"={value}".replace("{beside}", str(beside)) if value else "")
            for name, value in self.options
        ]

    @property
    def expectation(self) -> Path:
        return self.path.with_suffix(".json")

    def expected(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.expectation.read_text())
        return value

    def record(self, seen: Mapping[str, Any]) -> None:
        files = ",\n".join(f"  {json.dumps(path)}: {json.dumps(entry)}" for path, entry in seen["files"].items())
        rest = {name: value for name, value in seen.items() if name != "files"}
        text = json.dumps(rest, indent=1)[:-2] + ',\n "files": {\n' + files + ("\n }" if files else " }") + "\n}\n"
        self.expectation.write_text(text)

    def given(self, context: Path) -> tuple[str, bytes | None]:
        """What ``build`` is told of the context, and what it gets on standard input."""
        if not self.stdin:
            return str(context), None
        if self.stdin in ("tar", "gz", "bz2", "xz"):
            made = io.BytesIO()
            mode = "w:" + self.stdin.removeprefix("tar")
            # Docker knows a plain tar by its first header, and none that begins with an extended one.
            with tarfile.open(fileobj=made, mode=mode, format=tarfile.GNU_FORMAT) as archive:
                archive.add(context, ".", filter=_of_root)
            return "-", made.getvalue()
        return str(context) if ("file", "-") in self.options else "-", (context / self.stdin).read_bytes()

    def lay_out(self, directory: Path) -> Path:
        """The context as files in ``directory/context``; returns that. What stands beside it is in ``directory``."""
        beside, directory = directory, directory / "context"
        directory.mkdir(parents=True)
        for words, text in self.parts:
            kind = words[0] if words[0] in ("link", "dir", "socket", "tar") else "file"
            name = words[0] if kind == "file" else words[1]
            path = Path(os.path.normpath(directory / name))
            assert path.is_relative_to(beside), name
            path.parent.mkdir(parents=True, exist_ok=True)
            extra = words[1:] if kind == "file" else words[2:]
            if kind == "link":
                path.symlink_to(extra[0])
            elif kind == "dir":
                path.mkdir(exist_ok=True)
                path.chmod(int(extra[0], 8) if extra else 0o755)
            elif kind == "socket":
                os.mknod(path, stat.S_IFSOCK)
                path.chmod(int(extra[0], 8) if extra else 0o755)
            elif kind == "tar":
                path.write_bytes(_tar(text, extra[0] if extra else ""))
            else:
                data = text.encode()
                if "crlf" in extra:
                    data = data.replace(b"\n", b"\r\n")
                if "bom" in extra:
                    data = b"\xef\xbb\xbf" + data
                path.write_bytes(data)
                modes = [word for word in extra if word.isdigit()]
                path.chmod(int(modes[0], 8) if modes else 0o644)
        for parent, directories, files in os.walk(beside, topdown=False):
            for entry in (*directories, *files):
                os.utime(os.path.join(parent, entry), (CONTEXT_TIME, CONTEXT_TIME), follow_symlinks=False)
        return directory


def cases() -> list[Case]:
    return [_read(path) for path in sorted(CASES.glob("*/*.case"))]


def _read(path: Path) -> Case:
    head, *parts = ("\n" + path.read_text()).split("\n--- ")
    options: list[tuple[str, str]] = []
    env: dict[str, str] = {}
    said = {"fails": "", "differs": "", "differs-podman": "", "needs-docker": "0", "warns": "", "stdin": ""}
    for line in head.splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, value = line.partition(": ")
        if name in OPTIONS:
            options.append((name, value))
        elif name == "env":
            env.update([value.split("=", 1)])
        elif name in said:
            said[name] = value
        else:
            raise ValueError(f"{path}: {line!r}")
    read = []
    for part in parts:
        header, _, text = part.partition("\n")
        read.append((shlex.split(header), text + "\n" if text and not text.endswith("\n") else text))
    return Case(
        f"{path.parent.name}/{path.stem}", path, tuple(options), env, said["fails"], said["differs"],
        said["differs-podman"], int(said["needs-docker"]), tuple(read), said["warns"], said["stdin"],
    )  # fmt: skip


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def _tar(text: str, compression: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for line in text.splitlines():
            path, mode, owner, *rest = line.split(" ", 3)
            entry = tarfile.TarInfo(path)
            entry.mode, entry.mtime = int(mode, 8), CONTEXT_TIME
            entry.uid, entry.gid = map(int, owner.split(":"))
            content = rest[0] if rest else ""
            if content == "/":
                entry.type = tarfile.DIRTYPE
            elif content.startswith("-> "):
                entry.type, entry.linkname = tarfile.SYMTYPE, content[3:]
            elif content.startswith("=> "):
                entry.type, entry.linkname = tarfile.LNKTYPE, content[3:]
            else:
                entry.size = len(content.encode())
            archive.addfile(entry, io.BytesIO(content.encode()) if entry.isreg() else None)
    data = made.getvalue()
    if compression == "gz":
        import gzip

        return gzip.compress(data, mtime=0)
    if compression == "bz2":
        import bz2

        return bz2.compress(data)
    if compression == "xz":
        import lzma

        return lzma.compress(data)
    return data
