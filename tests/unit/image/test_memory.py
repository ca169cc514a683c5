"""A large layer is never in memory: loading and saving it take a small part of its size."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

LAYER_BYTES = 192 << 20
LIMIT_KIB = 100 << 10

WORK = """
import sys
from cais.engine import Engine, Settings
with Engine(Settings(sys.argv[1])) as engine:
    if sys.argv[2] == "load":
        engine.images.load(sys.stdin.buffer)
    else:
        engine.images.save(["big:1"], sys.stdout.buffer)
# Not ru_maxrss: that keeps the peak of the process that forked this one, here pytest.
with open("/proc/self/status") as status:
    print(*[line.split()[1] for line in status if line.startswith("VmHWM")], file=sys.stderr)
"""


def layer() -> Iterator[bytes]:
    info = tarfile.TarInfo("big")
    info.size = LAYER_BYTES
    yield info.tobuf()
    piece = bytes(range(256)) * 4096
    for _ in range(LAYER_BYTES // len(piece)):
        yield piece
    yield bytes(1024)


def archive() -> Iterator[bytes]:
    checksum, size = hashlib.sha256(), 0
    for piece in layer():
        checksum.update(piece)
        size += len(piece)
    diff_id = "sha256:" + checksum.hexdigest()
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}})
    documents = json.dumps([{"Config": "c.json", "RepoTags": ["big:1"], "Layers": ["layer.tar"]}])
    info = tarfile.TarInfo("layer.tar")
    info.size = size
    yield info.tobuf()
    yield from layer()
    yield bytes(-size % 512)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as rest:
        for name, text in (("c.json", config), ("manifest.json", documents)):
            info = tarfile.TarInfo(name)
            info.size = len(text)
            rest.addfile(info, io.BytesIO(text.encode()))
    yield out.getvalue()


def test_a_large_layer_is_never_in_memory(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORK, str(tmp_path / "root")]
    with subprocess.Popen([*command, "load"], stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stderr is not None
        for piece in archive():
            process.stdin.write(piece)
        process.stdin.close()
        assert int(process.stderr.read()) < LIMIT_KIB
    with subprocess.Popen([*command, "save"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        size = 0
        while piece := process.stdout.read(1 << 20):
            size += len(piece)
        assert int(process.stderr.read()) < LIMIT_KIB
    assert size > LAYER_BYTES
