"""`cp` while a process of the container exchanges names under it: nothing outside the container is read or written.

The process works through the container's own root, as one inside does, and as fast as the kernel lets it.
"""

from __future__ import annotations

import ctypes
import io
import os
import signal
import subprocess
import tarfile
import time

import pytest

from cais.engine import Engine
from cais.engine.settings import Settings
from cais.errors import CaisError

pytestmark = pytest.mark.root
SECONDS = 1.5
_EXCHANGE, _RENAMEAT2 = 2, 316
SECRET = "of the host alone"


@pytest.fixture
def outside(tmp_path):
    """A directory of this host whose file nobody may read or write by way of the container."""
    directory = tmp_path / "outside"
    (directory / "sub").mkdir(parents=True)
    for path in (directory / "file", directory / "sub" / "file"):
        path.write_text(SECRET)
        path.chmod(0o640)
    return directory


def listing(directory):
    return sorted(
        (str(path.relative_to(directory)), path.lstat().st_mode, path.lstat().st_ino, path.lstat().st_mtime_ns)
        for path in [directory, *directory.rglob("*")]
    )


@pytest.fixture
def raced(box, outside):
    """A container, and a process that exchanges /race/here/it (a directory with files) and a link to ``outside``."""
    script = "mkdir -p /race/here/it/sub; echo mine >/race/here/it/file; echo mine >/race/here/it/sub/file; sleep 1000"
    box("run", "-d", "--name", "raced", "--network", "none", "box", "sh", "-c", script)
    root = f"/proc/{box.pid('raced')}/root"
    end = time.monotonic() + 20
    while not os.path.exists(f"{root}/race/here/it/sub/file"):
        assert time.monotonic() < end, "the container made no files"
        os.sched_yield()
    # The same by an absolute and by a relative path: one of a process outside, one that climbs.
    os.symlink(f"../../../../../../../../../..{outside}", f"{root}/race/here/link")
    os.symlink(str(outside), f"{root}/race/here/other")
    child = os.fork()
    if child == 0:
        try:
            exchange_for_ever(os.open(f"{root}/race/here", os.O_RDONLY))
        finally:
            os._exit(1)
    yield "raced"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    box("rm", "-f", "raced")


def exchange_for_ever(directory: int) -> None:
    libc = ctypes.CDLL(None)
    names = (b"link", b"other")
    number = 0
    while True:
        name = names[number % 2]
        libc.syscall(_RENAMEAT2, directory, b"it", directory, name, _EXCHANGE)
        libc.syscall(_RENAMEAT2, directory, b"it", directory, name, _EXCHANGE)
        if number % 16 == 0:
            # The directory above goes away and comes back, too.
            libc.syscall(_RENAMEAT2, directory, b"../here", directory, b"../away", 0)
            libc.syscall(_RENAMEAT2, directory, b"../away", directory, b"../here", 0)
        number += 1


def attempts(box, in_child, action) -> int:
    """How often ``action(files, number)`` was tried in the given time; a refusal is an answer, too."""

    def many():
        engine = Engine(Settings(str(box.root)))
        number = done = 0
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            number += 1
            try:
                action(engine.containers.files, number)
                done += 1
            except CaisError:
                continue
        return f"{number} {done}"

    tried, done = map(int, in_child(many).split())
    assert tried > 50, "too few attempts say nothing"
    assert done, "no copy at all was made"
    return tried


def test_nothing_outside_is_read(box, raced, outside, tmp_path, in_child):
    got = tmp_path / "got"
    got.mkdir()

    def action(files, number):
        path = ("/race/here/it", "/race/here/it/.", "/race/here/it/file", "/race/here", "/race/.")[number % 5]
        files.copy_out(raced, path, f"{got}/{number}", follow=number % 2 == 0)

    attempts(box, in_child, action)
    files = [path for path in got.rglob("*") if path.is_file() and not path.is_symlink()]
    assert files
    assert {path.read_text() for path in files} == {"mine\n"}


def test_no_archive_has_anything_from_outside(box, raced, outside, in_child):
    def action(files, number):
        file = io.BytesIO()
        files.archive(raced, ("/race", "/race/here/it", "/race/here/it/file")[number % 3], file)
        assert SECRET.encode() not in file.getvalue()

    attempts(box, in_child, action)


def test_nothing_outside_is_written(box, raced, outside, tmp_path, in_child):
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    for path in (source / "file", source / "sub" / "file", source / "more"):
        path.write_text("mine\n")
    os.mkfifo(source / "pipe")
    (source / "link").symlink_to("file")
    before = listing(outside)

    def action(files, number):
        what, target = (
            (f"{source}/.", "/race/here/it"), (f"{source}/file", "/race/here/it/file"), (str(source), "/race/here"),
            (f"{source}/more", "/race/here/it/"), (f"{source}/pipe", "/race/here/it/sub/pipe"),
        )[number % 5]  # fmt: skip
        files.copy_in(raced, what, target)

    attempts(box, in_child, action)
    assert listing(outside) == before
    assert (outside / "file").read_text() == SECRET


def test_no_archive_is_unpacked_outside(box, raced, outside, in_child):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name in ("sub/file", "file", "new/deep/file"):
            info = tarfile.TarInfo(name)
            info.size = 5
            archive.addfile(info, io.BytesIO(b"mine\n"))
        for name, kind in (("sub/pipe", tarfile.FIFOTYPE), ("sub/made", tarfile.DIRTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o777
            archive.addfile(info)
        info = tarfile.TarInfo("hard")
        info.type, info.linkname = tarfile.LNKTYPE, "file"
        archive.addfile(info)
    before = listing(outside)

    def action(files, number):
        files.extract(raced, io.BytesIO(file.getvalue()), "/race/here/it")

    attempts(box, in_child, action)
    assert listing(outside) == before


HOSTILE = {
    "climbs": ("../../evil", tarfile.REGTYPE, ""),
    "climbs below a name": ("a/../../../evil", tarfile.REGTYPE, ""),
    "links to what is outside": ("hard", tarfile.LNKTYPE, "../../../etc/passwd"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_archives_are_refused(box, case):
    name, kind, link = HOSTILE[case]
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        archive.addfile(info)
    box("create", "--name", "refusing", "box")
    try:
        done = subprocess.run(
            box.command("cp", "-", "refusing:/tmp"), env=box.env, input=file.getvalue(), capture_output=True
        )
        assert done.returncode == 1 and b"Error: the archive's entry" in done.stderr
        assert b"Traceback" not in done.stderr
        assert box("diff", "refusing") == ""
    finally:
        box("rm", "refusing")


def test_a_link_before_an_entry_leads_through_the_container(box, outside):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("way")
        info.type, info.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(info)
        info = tarfile.TarInfo("way/file")
        info.size = 5
        archive.addfile(info, io.BytesIO(b"mine\n"))
    before = listing(outside)
    box("create", "--name", "linked", "box")
    try:
        subprocess.run(box.command("cp", "-", "linked:/tmp"), env=box.env, input=file.getvalue(), check=True)
        assert listing(outside) == before
        assert f"A {outside}/file\n" in box("diff", "linked")
    finally:
        box("rm", "linked")
