"""Files that are none, or are called strangely, where a command reads or writes what lies on the user's disk."""

from __future__ import annotations

import os
import socket
import tarfile

import pytest

pytestmark = pytest.mark.root


@pytest.mark.parametrize("kind", ["pipe", "device", "directory"])
def test_an_index_that_is_no_file(cais_with_base, tmp_path, kind):
    """Nobody waits for a pipe that nobody writes to."""
    cais, layout = cais_with_base, tmp_path / "layout"
    layout.mkdir()
    (layout / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    if kind == "pipe":
        os.mkfifo(layout / "index.json")
    elif kind == "device":
        (layout / "index.json").symlink_to("/dev/zero")
    else:
        (layout / "index.json").mkdir()
    context = cais.context("context", "FROM other\n")
    for words in (
        ("build", "--build-context", f"other=oci-layout://{layout}", str(context)),
        ("build", "--build-context", f"other=oci-layout://{layout}@sha256:{'0' * 64}", str(context)),
        (
            "build", "--build-context", "other=docker-image://base", "-o", f"type=oci,tar=false,dest={layout}",
            str(context),
        ),
        ("load", "-i", str(layout)),
    ):  # fmt: skip
        done = cais(*words, check=False)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    cais.assert_sound()


def test_a_volume_with_odd_files_goes_out_and_in(cais, tmp_path):
    cais("volume", "create", "odd")
    place = cais("volume", "inspect", "-f", "{{.Mountpoint}}", "odd").stdout.strip()
    for name in (".wh.deleted", ".wh..wh..opq", "a\nb", "-n", "\udcff"):
        with open(os.path.join(place, name), "w") as file:
            file.write("x")
    os.mkfifo(f"{place}/pipe")
    os.mknod(f"{place}/null", 0o20666, os.makedev(1, 3))
    os.symlink("/etc/passwd", f"{place}/link")
    os.link(f"{place}/-n", f"{place}/hard")
    os.setxattr(f"{place}/hard", "user.word", b"value")
    directory = os.open(place, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{directory}/socket")  # a socket's path is short, a temporary directory's is not
    os.close(directory)
    archive = str(tmp_path / "odd.tar")
    cais("volume", "export", "-o", archive, "odd")
    with tarfile.open(archive) as tar:
        assert tar.getmember("./link").linkname == "/etc/passwd"
    cais("volume", "import", "again", archive)
    other = cais("volume", "inspect", "-f", "{{.Mountpoint}}", "again").stdout.strip()
    # A socket is nothing without its process.
    assert sorted(os.listdir(other)) == sorted(set(os.listdir(place)) - {"socket"})
    assert os.readlink(f"{other}/link") == "/etc/passwd" and os.stat(f"{other}/hard").st_nlink == 2
    assert os.getxattr(f"{other}/-n", "user.word") == b"value"
    cais.assert_sound()
