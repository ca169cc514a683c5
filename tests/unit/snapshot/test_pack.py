from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import time
from pathlib import Path

import pytest

from cais.errors import Conflict, NotFound, Unsupported
from cais.host.tar_reader import TarReader
from cais.snapshot.changes import Change, tree_changes
from cais.snapshot.pack import measure, pack


def tar(root: Path, old: Path | None = None) -> bytes:
    return b"".join(pack(tree_changes(str(old) if old else None, str(root)), str(root)))


def names(data: bytes) -> list[str]:
    return [os.fsdecode(entry.name) for entry in TarReader(iter([data]))]


def test_the_same_tree_gives_the_same_bytes_whatever_was_made_first(tmp_path: Path) -> None:
    made = []
    for order in (1, -1):
        root = tmp_path / str(order)
        root.mkdir()
        for name in ["a", "b/c", "b/d", "e/f/g", "h" * 200][::order]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
            os.utime(root / name, ns=(order + 5, 7 * 10**9 + order + 5))
        os.link(root / "a", root / "z")
        os.link(root / "a", root / "b" / "y")
        for directory in ("b", "e", "e/f"):
            os.utime(root / directory, (3, 3))
        made.append(tar(root))
    assert made[0] == made[1]
    with tarfile.open(fileobj=io.BytesIO(made[0])) as archive:
        links = {member.name: member.linkname for member in archive if member.islnk()}
        assert links == {"b/y": "a", "z": "a"}
        assert archive.getmember("a").mtime == 7
        assert archive.getmember("b/c").uname == ""


def test_deletions_are_named_as_the_specification_has_it(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    status = os.stat(tmp_path / "d")
    changes = [
        Change(b"d", "directory", status),
        Change(b"d", "opaque"),
        Change(b"d/gone", "whiteout"),
        Change(b"gone", "whiteout"),
    ]
    data = b"".join(pack(changes, str(tmp_path)))
    assert names(data) == ["d/", "d/.wh..wh..opq", "d/.wh.gone", ".wh.gone"]
    assert measure(changes, str(tmp_path)) == ("sha256:" + hashlib.sha256(data).hexdigest(), len(data))


def test_measure_is_of_what_pack_gives(tmp_path: Path) -> None:
    for n in range(300):
        (tmp_path / f"{n}").write_bytes(os.urandom(n * 100))
    (tmp_path / "big").write_bytes(os.urandom((3 << 20) + 17))
    data = tar(tmp_path)
    assert measure(tree_changes(None, str(tmp_path)), str(tmp_path)) == (
        "sha256:" + hashlib.sha256(data).hexdigest(),
        len(data),
    )
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            assert file.read() == (tmp_path / member.name).read_bytes()
    assert not [thread for thread in threading.enumerate() if thread.name == "hash"]


def test_pieces_are_neither_small_nor_large(tmp_path: Path) -> None:
    for n in range(3000):
        (tmp_path / f"{n}").write_bytes(b"x" * 700)
    (tmp_path / "zbig").write_bytes(bytes(5 << 20))
    sizes = list(map(len, pack(tree_changes(None, str(tmp_path)), str(tmp_path))))
    assert max(sizes) <= 3 << 20
    assert len(sizes) < 20


def test_holes_are_zeros_and_cost_no_reading(tmp_path: Path) -> None:
    parts = {0: b"begin", 5_000_000: b"middle", 9_000_000: b"x" * 3_000_000}
    for name, size in (("end-hole", 15_000_000), ("end-data", 12_000_000), ("only-hole", 9_000_000)):
        with (tmp_path / name).open("wb") as file:
            for at, data in parts.items() if name != "only-hole" else ():
                file.seek(at)
                file.write(data)
            file.truncate(size)
    for entry in TarReader(pack(tree_changes(None, str(tmp_path)), str(tmp_path))):
        assert b"".join(entry.data()) == (tmp_path / os.fsdecode(entry.name)).read_bytes()
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2 << 30)
    before = time.process_time()
    assert sum(map(len, pack(tree_changes(None, str(tmp_path)), str(tmp_path)))) > 2 << 30
    assert time.process_time() - before < 1, "2 GiB of holes are not read"


def test_attributes_of_a_layer_are_kept_and_others_not(tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("sets trusted attributes")
    path = tmp_path / "f"
    path.write_text("x")
    capability = b"\1\0\0\2\0\4\0\0" + bytes(12)
    wanted = {b"security.capability": capability, b"user.a": b"1", b"trusted.b": b"2"}
    for name, value in wanted.items():
        os.setxattr(path, name, value)
    os.setxattr(path, "trusted.overlay.origin", b"x")
    os.setxattr(path, "user.overlay.origin", b"x")
    (tmp_path / "d").mkdir()
    os.setxattr(tmp_path / "d", "trusted.overlay.impure", b"y")
    os.setxattr(tmp_path / "d", "user.c", b"3")
    found = {entry.name: entry.xattrs for entry in TarReader(iter([tar(tmp_path)]))}
    assert found == {b"d/": {b"user.c": b"3"}, b"f": wanted}


@pytest.mark.parametrize("size", [10, 3 << 20])
@pytest.mark.parametrize("by", [-5, 5])
def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path, size: int, by: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(os.urandom(size))
    changes = list(tree_changes(None, str(tmp_path)))
    os.truncate(path, size + by)
    with pytest.raises(Conflict, match="'log' changed"):
        list(pack(changes, str(tmp_path)))


def test_a_large_file_that_changes_while_it_is_read(tmp_path: Path) -> None:
    for by in (-1, 1):
        path = tmp_path / "log"
        path.write_bytes(os.urandom(4 << 20))
        pieces = pack(tree_changes(None, str(tmp_path)), str(tmp_path))
        next(pieces)
        os.truncate(path, (4 << 20) + by)
        with pytest.raises(Conflict, match="'log' changed"):
            list(pieces)


def test_a_file_that_became_another_kind(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    changes = list(tree_changes(None, str(tmp_path)))
    (tmp_path / "f").unlink()
    with pytest.raises(NotFound, match="'f' was removed"):
        measure(changes, str(tmp_path))
    os.mkfifo(tmp_path / "f")
    with pytest.raises(Conflict, match="'f' changed"):
        list(pack(changes, str(tmp_path)))


def test_names_that_mean_deletions_are_refused(tmp_path: Path) -> None:
    (tmp_path / ".wh.x").write_text("")
    with pytest.raises(Unsupported, match=r"'\.wh\.x'"):
        tar(tmp_path)
