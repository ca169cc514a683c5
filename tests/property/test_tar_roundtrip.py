"""Trees to tars and back: nothing is lost, and the same tree gives the same tar."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cais.host.compression import compressed, decompressed
from cais.host.tar_reader import TarReader
from cais.host.tar_writer import TarEntry, header, padding, trailer
from cais.snapshot.apply import apply
from cais.snapshot.changes import overlay_changes, tree_changes
from cais.snapshot.pack import measure, pack

PREFIX = b"trusted.overlay."
AS_ROOT = os.geteuid() == 0

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

name = st.one_of(
    st.binary(min_size=1, max_size=12),
    st.sampled_from([b"a", b"b", b"a-", b"a.b", b" ", b"\n", b"\xff\xfe", b"\xc3\xa4", b"n" * 255, b".hidden", b"..."]),
).filter(lambda value: not set(value) & {0, 47} and value not in (b".", b"..") and not value.startswith(b".wh."))
mode = st.sampled_from([0o644, 0o755, 0o4755, 0o2711, 0o1777, 0o600, 0o400])
owner = st.sampled_from([0, 1, 1000, 0o7777777, 3_000_000, 2**32 - 2]) if AS_ROOT else st.just(os.geteuid())
mtime = st.integers(-(2**31), 2**33)
content = st.one_of(
    st.binary(max_size=1200),
    st.builds(lambda size, byte: bytes([byte]) * size, st.integers(0, 200_000), st.integers(0, 255)),
)
xattrs = st.dictionaries(
    st.sampled_from([b"user.a", b"user.b.c", b"user.\xc3\xa4"]), st.binary(max_size=60), max_size=2
)

leaf = st.one_of(
    st.tuples(st.just("file"), content, xattrs),
    st.tuples(
        st.just("symlink"), st.binary(min_size=1, max_size=300).filter(lambda value: 0 not in value), st.just({})
    ),
    st.tuples(st.sampled_from(["fifo", "link", "whiteout"]), st.just(b""), st.just({})),
)
dressed = st.tuples(leaf, mode, owner, mtime)
trees: st.SearchStrategy[Any] = st.recursive(
    st.dictionaries(name, dressed, max_size=6),
    lambda inside: st.dictionaries(name, st.one_of(dressed, st.tuples(inside, mode, owner, mtime)), max_size=5),
    max_leaves=25,
)


def grow(at: bytes, tree: dict[bytes, Any], files: list[bytes], deletions: bool) -> None:
    """Makes ``tree`` in the directory ``at``, as an overlay's upper directory where there are deletions."""
    for key, (what, bits, user, seconds) in tree.items():
        path = at + b"/" + key
        if isinstance(what, dict):
            os.mkdir(path)
            grow(path, what, files, deletions)
        else:
            kind, data, attributes = what
            if kind == "whiteout":
                if deletions and AS_ROOT:
                    os.mknod(path, stat.S_IFCHR, 0)
                continue
            if kind == "link" and files:
                os.link(files[0], path, follow_symlinks=False)
                continue
            if kind in ("file", "link"):
                with open(path, "wb") as file:
                    file.write(data)
                for attribute, value in attributes.items():
                    os.setxattr(path, attribute, value)
            elif kind == "symlink":
                os.symlink(data, path)
            else:
                os.mkfifo(path)
            files.append(path)
        if AS_ROOT:
            os.chown(path, user, user, follow_symlinks=False)
        if not os.path.islink(path):
            os.chmod(path, bits)
        os.utime(path, (seconds, seconds), follow_symlinks=False)


def seen(root: bytes) -> dict[bytes, tuple[Any, ...]]:
    found: dict[bytes, tuple[Any, ...]] = {}
    groups: dict[int, bytes] = {}
    for directory, names, others in os.walk(root):
        for key in sorted(names + others):
            path = directory + b"/" + key
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            what = b""
            if kind == stat.S_IFREG:
                with open(path, "rb") as file:
                    what = file.read()
            elif kind == stat.S_IFLNK:
                what = os.readlink(path)
            relative = path[len(root) :]
            deletion = kind == stat.S_IFCHR and not status.st_rdev
            found[relative] = (
                kind,
                what,
                *((status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns // 10**9) if not deletion else ()),
                {attribute: os.getxattr(path, attribute, follow_symlinks=False) for attribute in attributes_of(path)},
                groups.setdefault(status.st_ino, relative),
            )
    return found


def attributes_of(path: bytes) -> list[str]:
    return [key for key in os.listxattr(path, follow_symlinks=False) if key.startswith(("user.", "trusted."))]


class Room:
    """Directories for one example."""

    def __enter__(self) -> Room:
        self.path = os.fsencode(tempfile.mkdtemp())
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path)

    def make(self, key: str) -> bytes:
        path = self.path + b"/" + key.encode()
        os.mkdir(path, 0o755)
        return path


def packed(root: bytes, lower: tuple[bytes, ...] = ()) -> bytes:
    return b"".join(pack(overlay_changes(os.fsdecode(root), lower, PREFIX), os.fsdecode(root)))


def cut(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


@quick
@given(trees, st.sampled_from([100, 513, 10**6]))
def test_an_overlay_layer_comes_back(tree: dict[bytes, Any], size: int) -> None:
    with Room() as room:
        source, target = room.make("source"), room.make("target")
        grow(source, tree, [], True)
        data = packed(source)
        applied = apply(
            cut(data, size), os.fsdecode(target), style="overlay-trusted" if AS_ROOT else "plain", owners=AS_ROOT
        )
        assert applied.notes == ()
        assert seen(target) == seen(source)
        assert packed(target) == data, "the same tree gives the same tar"
        assert measure(overlay_changes(os.fsdecode(target), [], PREFIX), os.fsdecode(target)) == (
            applied.diff_id,
            applied.size_bytes,
        )


@quick
@given(trees, trees)
def test_differences_applied_make_the_new_tree(old: dict[bytes, Any], new: dict[bytes, Any]) -> None:
    with Room() as room:
        before, after = room.make("before"), room.make("after")
        grow(before, old, [], False)
        grow(after, new, [], False)
        difference = b"".join(pack(tree_changes(os.fsdecode(before), os.fsdecode(after)), os.fsdecode(after)))
        apply(iter([difference]), os.fsdecode(before), style="merged", owners=AS_ROOT)
        wanted, found = seen(after), seen(before)
        # A hard link to what is equal on both sides comes as a file: what is linked is content of another layer. A
        # directory's time alone is no difference.
        assert {key: (value[0], value[1]) for key, value in found.items()} == {
            key: (value[0], value[1]) for key, value in wanted.items()
        }
        assert {key: value[2:5] for key, value in found.items()} == {key: value[2:5] for key, value in wanted.items()}
        assert {key: value[-2] for key, value in found.items() if value[0] == stat.S_IFREG} == {
            key: value[-2] for key, value in wanted.items() if value[0] == stat.S_IFREG
        }
        assert list(tree_changes(os.fsdecode(before), os.fsdecode(after))) == []


@pytest.mark.skipif(not AS_ROOT, reason="makes deletions")
@quick
@given(trees, trees)
def test_a_layer_means_the_same_to_both_drivers(lower: dict[bytes, Any], upper: dict[bytes, Any]) -> None:
    """Two layers merged into one tree, and the second kept as an overlay's directory and packed again."""
    with Room() as room:
        one, two, again, whole = room.make("one"), room.make("two"), room.make("again"), room.make("whole")
        grow(one, lower, [], False)
        grow(two, upper, [], True)
        first, second = packed(one), packed(two, (one,))
        apply(iter([first]), os.fsdecode(whole), style="merged")
        apply(iter([second]), os.fsdecode(whole), style="merged")
        apply(iter([second]), os.fsdecode(again), style="overlay-trusted")
        assert packed(again, (one,)) == second
        deleted = {key for key, value in seen(two).items() if value[0] == stat.S_IFCHR}
        names = set(seen(whole))
        assert not names & deleted
        assert names >= set(seen(two)) - deleted


entries = st.builds(
    TarEntry,
    st.lists(name, min_size=1, max_size=12).map(b"/".join),
    st.sampled_from(["file", "symlink", "hardlink", "char", "block", "fifo"]),
    st.integers(0, 0o7777),
    st.integers(0, 2**33),
    st.integers(0, 2**33),
    st.integers(-(2**40), 2**40),
    st.integers(0, 3000),
    st.just(b""),
    st.just((0, 0)),
    st.dictionaries(
        st.binary(min_size=1, max_size=30).filter(lambda key: b"=" not in key and b"\0" not in key),
        st.binary(max_size=300),
        max_size=3,
    ),
)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            entries, st.binary(min_size=1, max_size=400).filter(lambda text: 0 not in text), st.integers(0, 4095)
        ),
        max_size=5,
    ),
    st.integers(1, 5000),
)
def test_every_entry_that_can_be_written_is_read(made: list[tuple[TarEntry, bytes, int]], size: int) -> None:
    wanted = []
    stream = []
    for number, (entry, target, device) in enumerate(made):
        if entry.kind in ("symlink", "hardlink"):
            entry = entry._replace(link_target=target)
        if entry.kind in ("char", "block"):
            entry = entry._replace(device=(device, device))
        if entry.kind != "file":
            entry = entry._replace(size_bytes=0)
        data = bytes([number]) * entry.size_bytes
        wanted.append((entry, data))
        stream += [header(entry), data, padding(len(data))]
    raw = b"".join([*stream, trailer()])
    found = [(entry._replace(source=None), b"".join(entry.data())) for entry in TarReader(cut(raw, size))]
    assert found == wanted


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=5000), max_size=8), st.sampled_from(["none", "gzip", "zstd"]), st.integers(1, 3000))
def test_what_is_compressed_comes_back(data: list[bytes], kind: str, size: int) -> None:
    made = b"".join(compressed(iter(data), kind))
    assert b"".join(decompressed(cut(made, size), kind)) == b"".join(data)
