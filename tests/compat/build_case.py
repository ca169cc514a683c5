"""A build case: one text file with the Dockerfile, the context and the options, beside it what comes out.

    # What it shows.
    build-arg: X=1              options of `build`, any number of times: build-arg, target, label, platform
    env: NAME=value             of the client
    needs-docker: 23            the first version of Docker whose BuildKit does it
    differs: why                Docker gives something else, and Cais does not follow it
    fails: text                 the build fails in both; Cais's error has this text
    --- Dockerfile
    FROM base
    --- "a file.txt" 0600       files are 0644 without a mode; "bom" and "crlf" behind it say how the text is written
    text
    --- link to target
    --- dir empty 0700
    --- tar a.tar.gz gz         each line of its text: PATH MODE UID:GID [TEXT, -> TARGET for a link, / for a directory]

``NAME.json`` keeps what the image is: config, history, number of layers, and the files that are not the base's.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import shlex
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

CASES = Path(__file__).parent / "build_cases"
# Everything in a context was last changed then.
CONTEXT_TIME = 1_600_000_000
_OPTIONS = ("build-arg", "target", "label", "platform")
_APPLETS = (
    "sh", "cat", "echo", "ls", "env", "sort", "id", "stat", "mkdir", "touch", "rm", "true", "false", "pwd", "grep",
    "chmod", "chown", "ln", "head", "printf", "sed", "cp", "mv", "test", "wc", "find", "awk", "hostname",
)  # fmt: skip


class Case(NamedTuple):
    """``name`` is ``subject/name``. ``parts`` are the headers behind ``---``, split, with the text below each."""

    name: str
    path: Path
    options: tuple[tuple[str, str], ...]
    env: Mapping[str, str]
    fails: str
    differs: str
    needs_docker: int
    parts: tuple[tuple[list[str], str], ...]

    @property
    def flags(self) -> list[str]:
        return [f"--{name}={value}" for name, value in self.options]

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

    def lay_out(self, directory: Path) -> Path:
        """The context as files; returns its directory."""
        directory.mkdir(parents=True)
        for words, text in self.parts:
            kind = words[0] if words[0] in ("link", "dir", "tar") else "file"
            name = words[0] if kind == "file" else words[1]
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            extra = words[1:] if kind == "file" else words[2:]
            if kind == "link":
                path.symlink_to(extra[0])
            elif kind == "dir":
                path.mkdir(exist_ok=True)
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
        for parent, directories, files in os.walk(directory, topdown=False):
            for entry in (*directories, *files):
                os.utime(os.path.join(parent, entry), (CONTEXT_TIME, CONTEXT_TIME), follow_symlinks=False)
        os.utime(directory, (CONTEXT_TIME, CONTEXT_TIME))
        return directory


def cases() -> list[Case]:
    return [_read(path) for path in sorted(CASES.glob("*/*.case"))]


def _read(path: Path) -> Case:
    head, *parts = ("\n" + path.read_text()).split("\n--- ")
    options: list[tuple[str, str]] = []
    env: dict[str, str] = {}
    said = {"fails": "", "differs": "", "needs-docker": "0"}
    for line in head.splitlines():
        if not line or line.startswith("#"):
            continue
        name, _, value = line.partition(": ")
        if name in _OPTIONS:
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
        int(said["needs-docker"]), tuple(read),
    )  # fmt: skip


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


def observe(archive: Path, base_files: Mapping[str, Any] | None = None, base_layers: int = 1) -> dict[str, Any]:
    """What an image in a docker-archive is, so that two builders can be compared."""
    with tarfile.open(archive) as opened:

        def read(name: str) -> bytes:
            file = opened.extractfile(name)
            assert file is not None
            return file.read()

        manifest = json.loads(read("manifest.json"))[0]
        config = json.loads(read(manifest["Config"]))
        layers = [_entries(read(name)) for name in manifest["Layers"]]
    files = _merged(layers)
    history = config.get("history") or []
    starts = [number for number, entry in enumerate(history) if "buildkit" not in entry.get("comment", "")]
    added = history[starts[-1] + 1 :] if starts else history
    on_base = base_layers if starts else 0
    base = base_files or {} if starts else {}
    changed = {path: entry for path, entry in sorted(files.items()) if base.get(path) != entry}
    changed.update({path: None for path in sorted(base) if path not in files})
    return {
        "config": _config(config),
        "layers": len(layers) - on_base,
        "history": [[entry.get("created_by", ""), *(["empty"] if entry.get("empty_layer") else [])] for entry in added],
        "files": changed,
    }


def _config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says nothing: null, "", false."""
    run = {
        name: value for name, value in sorted((config.get("config") or {}).items()) if value not in (None, "", False)
    }
    run = {name: value for name, value in run.items() if value != {} and not (value == [] and name != "Cmd")}
    # BuildKit still sets the second where there is a CMD; it means something on Windows only.
    for name in ("Image", "ArgsEscaped"):
        run.pop(name, None)
    outside = {name: config[name] for name in ("architecture", "os", "variant", "author") if config.get(name)}
    return {**outside, **run}


def _entries(layer: bytes) -> Iterator[tuple[str, tarfile.TarInfo, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(layer)) as opened:
        for entry in opened:
            file = opened.extractfile(entry) if entry.isreg() else None
            yield entry.name.strip("/"), entry, file.read() if file else b""


def _merged(layers: list[Iterator[tuple[str, tarfile.TarInfo, bytes]]]) -> dict[str, list[str]]:
    """Path to ``[kind mode owner, content or target, attributes..]`` after all layers; whiteouts carried out."""
    files: dict[str, list[str]] = {}
    for layer in layers:
        lower, mine = files, {}
        links: list[tuple[str, str]] = []
        files = dict(lower)
        for name, entry, data in layer:
            parent, _, last = name.rpartition("/")
            if last == ".wh..wh..opq":
                _remove(files, parent, itself=False)
            elif last.startswith(".wh."):
                _remove(files, f"{parent}/{last[4:]}".strip("/"), itself=True)
            elif name not in ("", "."):
                mine[name] = _described(entry, data)
                if entry.islnk():
                    links.append((name, entry.linkname.strip("/")))
        for name, entry in mine.items():
            if not entry[0].startswith("directory"):
                _remove(files, name, itself=False)
            files[name] = entry
        for name, target in links:
            files[name] = files[target]
    return files


def _remove(files: dict[str, list[str]], path: str, *, itself: bool) -> None:
    for name in [name for name in files if name.startswith(path + "/")]:
        del files[name]
    if itself:
        files.pop(path, None)


def _described(entry: tarfile.TarInfo, data: bytes) -> list[str]:
    kinds = {tarfile.DIRTYPE: "directory", tarfile.SYMTYPE: "link", tarfile.FIFOTYPE: "fifo", tarfile.REGTYPE: "file"}
    kind = kinds.get(entry.type, "file")
    mode = "" if kind == "link" else f" {entry.mode & 0o7777:04o}"
    said = [f"{kind}{mode} {entry.uid}:{entry.gid}"]
    if kind == "link":
        said.append(entry.linkname)
    elif kind == "file":
        try:
            text = data.decode()
            said.append(text if len(text) <= 400 else hashlib.sha256(data).hexdigest())
        except UnicodeDecodeError:
            said.append(hashlib.sha256(data).hexdigest())
    if kind != "directory" and entry.mtime == CONTEXT_TIME:
        said.append("time of the source")
    for name, value in sorted(entry.pax_headers.items()):
        if name.startswith("SCHILY.xattr."):
            said.append(f"{name[13:]}={base64.b64encode(value.encode('utf-8', 'surrogateescape')).decode()}")
    return said
