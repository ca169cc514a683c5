"""What an image is, as plain values, so that those of two builders can be compared."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from corpus.case import CONTEXT_TIME


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
