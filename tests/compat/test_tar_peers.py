"""Our tars in the hands of GNU tar, bsdtar and Go's archive/tar (skopeo, umoci), and theirs in ours."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cais.host.tar_reader import TarReader
from cais.host.tar_writer import TarEntry, header, padding, trailer
from cais.snapshot.apply import apply
from cais.snapshot.changes import overlay_changes
from cais.snapshot.pack import pack

CAPABILITY = b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
LONG = b"/".join([b"long-%d-" % n + b"x" * 200 for n in range(4)])

pytestmark = [
    pytest.mark.root,
    pytest.mark.peer,
    pytest.mark.skipif(os.geteuid() != 0, reason="makes devices"),
]


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while data := file.read(1 << 16):
            yield data


def run(*arguments: str | bytes | Path, **options: object) -> bytes:
    done = subprocess.run(arguments, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return bytes(done.stdout)


def make_tree(root: Path) -> None:
    """One of everything that a layer can hold."""
    at = os.fsencode(root)
    os.makedirs(at + b"/" + LONG)
    files = {
        b"plain": b"text\n",
        b"empty": b"",
        b"big": os.urandom(3 << 20),
        b"with space": b"1",
        b"with\nnewline": b"2",
        b"invalid-\xff\xfe": b"3",
        b"\xc3\xa4\xc3\xb6": b"4",
        b"-dash": b"5",
        b"n" * 255: b"6",
        LONG + b"/" + b"deep\xff" * 30: b"7",
        b"suid": b"8",
        b"capable": b"9",
    }
    for name, data in files.items():
        with open(at + b"/" + name, "wb") as file:
            file.write(data)
    os.link(at + b"/plain", at + b"/zz-link")
    os.link(at + b"/" + LONG + b"/" + b"deep\xff" * 30, at + b"/zz-long-link")
    os.symlink(b"plain", at + b"/symbolic")
    os.symlink(b"/t\xff/" + b"t" * 300, at + b"/symbolic-long")
    os.mkfifo(at + b"/fifo")
    os.mknod(at + b"/char", stat.S_IFCHR | 0o620, os.makedev(4, 300))
    os.mknod(at + b"/block", stat.S_IFBLK | 0o600, os.makedev(259, 70000))
    os.chown(at + b"/plain", 1000, 3_000_000)
    os.chown(at + b"/symbolic", 5, 6, follow_symlinks=False)
    os.chmod(at + b"/suid", 0o4755)
    os.mkdir(at + b"/sticky")
    os.chmod(at + b"/sticky", 0o1777)
    os.setxattr(at + b"/capable", "security.capability", CAPABILITY)
    os.setxattr(at + b"/sticky", "user.note", b"a=b\nc\0\xff")
    for directory, names, others in os.walk(at, topdown=False):
        for name in names + others:
            os.utime(directory + b"/" + name, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    os.utime(at + b"/empty", (-5, -5))


def seen(root: Path, *, xattrs: bool = True) -> dict[bytes, tuple[object, ...]]:
    """What can be seen of a tree."""
    at = os.fsencode(root)
    found: dict[bytes, tuple[object, ...]] = {}
    inodes: dict[int, bytes] = {}
    for directory, names, others in os.walk(at):
        for name in sorted(names + others):
            path = directory + b"/" + name
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            content: object = b""
            if kind == stat.S_IFREG:
                with open(path, "rb") as file:
                    content = hashlib.sha256(file.read()).digest()
            elif kind == stat.S_IFLNK:
                content = os.readlink(path)
            names_of = os.listxattr(path, follow_symlinks=False) if xattrs else []
            found[path[len(at) + 1 :]] = (
                kind,
                stat.S_IMODE(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns // 10**9,
                status.st_rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0,
                status.st_nlink if kind != stat.S_IFDIR else 0,
                content,
                sorted((key, os.getxattr(path, key, follow_symlinks=False)) for key in names_of),
                inodes.setdefault(status.st_ino, path[len(at) + 1 :]) if kind == stat.S_IFREG else b"",
            )
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("tree")
    make_tree(root)
    return root


@pytest.fixture(scope="module")
def ours(tree: Path) -> Path:
    path = tree.parent / "ours.tar"
    path.write_bytes(b"".join(pack(overlay_changes(str(tree), [], b"trusted.overlay."), str(tree))))
    return path


def difference(one: dict[bytes, tuple[object, ...]], two: dict[bytes, tuple[object, ...]]) -> list[object]:
    return [(key, one.get(key), two.get(key)) for key in {*one, *two} if one.get(key) != two.get(key)]


def test_we_extract_ours(tree: Path, ours: Path, tmp_path: Path) -> None:
    applied = apply(pieces(ours), str(tmp_path), style="overlay-trusted")
    assert difference(seen(tree), seen(tmp_path)) == []
    assert applied.notes == ()
    assert applied.diff_id.hex == hashlib.sha256(ours.read_bytes()).hexdigest()
    assert applied.size_bytes == ours.stat().st_size


def test_gnu_tar_extracts_ours(tree: Path, ours: Path, tmp_path: Path) -> None:
    need("tar")
    run("tar", "-xpf", ours, "--xattrs", "--xattrs-include=*", "--numeric-owner", "-C", tmp_path)
    assert difference(seen(tree), seen(tmp_path)) == []


def test_gnu_tar_compares_ours_without_a_difference(tree: Path, ours: Path) -> None:
    need("tar")
    assert run("tar", "-df", ours, "--numeric-owner", "-C", tree) == b""


def test_bsdtar_extracts_ours(tree: Path, ours: Path, tmp_path: Path) -> None:
    need("bsdtar")
    run("bsdtar", "-xpf", ours, "--numeric-owner", "-C", tmp_path)
    assert difference(seen(tree), seen(tmp_path)) == []


def test_gnu_tar_and_bsdtar_list_the_same_names(ours: Path) -> None:
    need("tar", "bsdtar")
    wanted = [entry.name for entry in TarReader(pieces(ours))]
    listed = run("tar", "-tf", ours, "--quoting-style=escape").split(b"\n")
    assert len(listed) - 1 == len(wanted)
    assert len(run("bsdtar", "-tf", ours).split(b"\n")) - 1 == len(wanted)


@pytest.mark.parametrize("form", ["v7", "ustar", "oldgnu", "gnu", "posix"])
def test_we_extract_what_gnu_tar_makes(tree: Path, tmp_path: Path, form: str) -> None:
    need("tar")
    source = tree
    if form in ("v7", "ustar"):  # they cannot say everything
        source = tmp_path / "source"
        shutil.copytree(tree, source, symlinks=True, ignore=lambda *_: ["fifo", "char", "block", *os.listdir(tree)[:0]])
        for name in os.listdir(os.fsencode(source)):
            path = os.fsencode(source) + b"/" + name
            if name.startswith(b"long-") or len(name) > 90 or name in (b"symbolic-long", b"zz-long-link", b"empty"):
                shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
            elif not os.path.islink(path):
                os.chown(path, 1000, 1000)
                for key in os.listxattr(path):
                    os.removexattr(path, key)
        os.link(source / "plain", source / "again")
    archive = tmp_path / "theirs.tar"
    xattrs = ["--xattrs", "--xattrs-include=*"] if form == "posix" else []
    run("tar", "-cf", archive, f"--format={form}", *xattrs, "--numeric-owner", "-C", source, ".")
    target = tmp_path / "target"
    target.mkdir()
    applied = apply(pieces(archive), str(target), style="overlay-trusted")
    assert difference(seen(source, xattrs=form == "posix"), seen(target, xattrs=form == "posix")) == []
    assert applied.diff_id.hex == hashlib.sha256(archive.read_bytes()).hexdigest()


@pytest.mark.parametrize("form", ["ustar", "pax", "gnutar"])
def test_we_extract_what_bsdtar_makes(tree: Path, tmp_path: Path, form: str) -> None:
    need("bsdtar")
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_bytes(b"x" * 70_000)
    (source / "dir").mkdir()
    (source / "dir" / ("n" * 90)).write_bytes(b"1")
    os.link(source / "file", source / "link")
    os.symlink("file", source / "symbolic")
    if form == "pax":
        os.setxattr(source / "file", "security.capability", CAPABILITY)
        (source / "b\xe4r").write_bytes(b"2")
        (source / ("m" * 255)).write_bytes(b"3")
    for path in [*source.rglob("*")]:
        os.utime(path, (1_600_000_000, 1_600_000_000), follow_symlinks=False)
    archive = tmp_path / "theirs.tar"
    run("bsdtar", "-cf", archive, f"--format={form}", "-C", source, ".")
    target = tmp_path / "target"
    target.mkdir()
    apply(pieces(archive), str(target), style="overlay-trusted")
    assert difference(seen(source, xattrs=form == "pax"), seen(target, xattrs=form == "pax")) == []


@pytest.mark.parametrize("form", ["oldgnu", "gnu", "posix 0.0", "posix 0.1", "posix 1.0"])
def test_sparse_files_of_gnu_tar(tmp_path: Path, form: str) -> None:
    need("tar")
    source = tmp_path / "source"
    source.mkdir()
    with (source / "sparse").open("wb") as file:
        for n in range(60):
            file.seek(n * 300_000 + n)
            file.write(b"%d" % n * 100)
        file.truncate(20_000_001)
    with (source / "holes only").open("wb") as file:
        file.truncate(5_000_000)
    (source / "zz after").write_bytes(b"after")
    kind, _, version = form.partition(" ")
    options = [f"--sparse-version={version}"] if version else []
    archive = tmp_path / "theirs.tar"
    run("tar", "-cSf", archive, f"--format={kind}", *options, "-C", source, ".")
    assert archive.stat().st_size < 2_000_000
    target = tmp_path / "target"
    target.mkdir()
    apply(pieces(archive), str(target), style="plain")
    for name in os.listdir(source):
        assert (source / name).read_bytes() == (target / name).read_bytes()
    assert (target / "sparse").stat().st_blocks * 512 < 5_000_000, "holes stay holes"
    for entry in TarReader(pieces(archive)):
        if entry.kind == "file":
            assert sum(map(len, entry.data())) == entry.size_bytes


def layout(root: Path, layer: bytes) -> None:
    """An OCI layout of one image with one plain layer."""
    blobs = root / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    diff_id = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}, "config": {}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
        "layers": [blob(layer, "application/vnd.oci.image.layer.v1.tar")],
    }
    entry = blob(json.dumps(manifest).encode(), str(manifest["mediaType"]))
    entry["annotations"] = {"org.opencontainers.image.ref.name": "latest"}
    (root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (root / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def test_go_extracts_ours(tree: Path, ours: Path, tmp_path: Path) -> None:
    """umoci unpacks with Go's archive/tar."""
    need("umoci")
    layout(tmp_path / "image", ours.read_bytes())
    run("umoci", "raw", "unpack", "--image", f"{tmp_path}/image:latest", tmp_path / "rootfs")
    assert difference(seen(tree), seen(tmp_path / "rootfs")) == []


def test_go_reads_an_archive_of_ours(tmp_path: Path) -> None:
    """skopeo opens a tar of ours with Go's archive/tar, names that need PAX included."""
    need("skopeo")
    layout(tmp_path / "image", b"".join([trailer()]))
    stream = []
    base = tmp_path / "image"
    stream.append(header(TarEntry(b"/".join([b"x" * 150] * 3), "directory", 0o755)))
    stream.append(header(TarEntry(b"/".join([b"x" * 150] * 3 + [b"\xff"]))))
    stream.append(header(TarEntry(b"big-uid\xff", uid=2**31, mtime=-7)))
    for path in sorted(base.rglob("*")):
        name = os.fsencode(path.relative_to(base))
        if path.is_dir():
            stream.append(header(TarEntry(name, "directory", 0o755)))
        else:
            data = path.read_bytes()
            stream += [header(TarEntry(name, size_bytes=len(data))), data, padding(len(data))]
    archive = tmp_path / "image.tar"
    archive.write_bytes(b"".join([*stream, trailer()]))
    found = json.loads(run("skopeo", "inspect", "--raw", f"oci-archive:{archive}:latest"))
    assert len(found["layers"]) == 1


def test_deletions_mean_the_same_to_umoci(tmp_path: Path) -> None:
    need("umoci")
    layout(tmp_path / "image", trailer())
    run("umoci", "unpack", "--image", f"{tmp_path}/image:latest", tmp_path / "bundle")
    rootfs = tmp_path / "bundle" / "rootfs"
    (rootfs / "keep").mkdir()
    (rootfs / "keep" / "one").write_bytes(b"1")
    (rootfs / "keep" / "two").write_bytes(b"2")
    run("umoci", "repack", "--image", f"{tmp_path}/image:second", tmp_path / "bundle")
    (rootfs / "keep" / "two").unlink()
    (rootfs / "new").write_bytes(b"3")
    run("umoci", "repack", "--image", f"{tmp_path}/image:third", tmp_path / "bundle")
    index = json.loads((tmp_path / "image" / "index.json").read_text())
    [third] = [
        item["digest"]
        for item in index["manifests"]
        if item["annotations"]["org.opencontainers.image.ref.name"] == "third"
    ]
    blobs = tmp_path / "image" / "blobs" / "sha256"
    manifest = json.loads((blobs / third.partition(":")[2]).read_text())
    from cais.host.compression import decompressed

    target = tmp_path / "target"
    target.mkdir()
    for layer in manifest["layers"]:
        content = decompressed(pieces(blobs / layer["digest"].partition(":")[2]))
        apply(content, str(target), style="merged")
    assert sorted(os.listdir(target)) == ["keep", "new"]
    assert os.listdir(target / "keep") == ["one"]
