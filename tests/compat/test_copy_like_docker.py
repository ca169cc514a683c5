"""`cp`, `diff` and `export` do what docker 26 did: where what goes, and in which words it is refused."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tarfile
import time

import pytest

pytestmark = pytest.mark.root
SCRIPT = "mkdir -p /d/sub /root/x; echo hi >/d/f; ln -s f /d/l; ln -s /d /dl; ln -s /nowhere /dang; mkfifo /d/p"


class Cais:
    def __init__(self, root):
        self.environment = {**os.environ, "CAIS_ROOT": str(root)}

    def __call__(self, *words, code=0, **options):
        command = [sys.executable, "-m", "cais", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, timeout=60, check=False, **options
        )  # fmt: skip
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout[:500], done.stderr[:2000])
        return done

    def text(self, *words):
        return self(*words).stdout.decode().strip()


@pytest.fixture(scope="module")
def cais(busybox_tar, tmp_path_factory):
    if os.geteuid() != 0 or not (shutil.which("crun") or shutil.which("runc")) or not shutil.which("conmon"):
        pytest.skip("needs root, an OCI runtime and conmon")
    made = Cais(tmp_path_factory.mktemp("root"))
    made("import", "--change", "CMD sh", str(busybox_tar), "box")
    return made


@pytest.fixture(params=["running", "stopped"])
def container(cais, request):
    """A container with what SCRIPT makes."""
    cais("create", "--name", "fc", "--network", "none", "box", "sh", "-c", f"{SCRIPT}; touch /made; exec sleep 1000")
    cais("start", "fc")
    end = time.monotonic() + 20
    while cais("cp", "fc:/made", "-", code=None).returncode:
        assert time.monotonic() < end
    if request.param == "stopped":
        cais("kill", "fc")
        cais("wait", "fc")
    yield "fc"
    cais("rm", "-f", "fc")


@pytest.fixture
def local(tmp_path):
    here = tmp_path / "l"
    for name in ("src/sub", "dst", "clash/f", "other"):
        (here / name).mkdir(parents=True)
    (here / "one").write_text("one\n")
    (here / "src/sub/s").write_text("s\n")
    (here / "other/sub").write_text("a file\n")
    (here / "link").symlink_to("one")
    (here / "dirlink").symlink_to("src")
    return here


# What docker 26 said; L is the local directory.
REFUSED = [
    ("fc:/nope", "L/", "Could not find the file /nope in container fc"),
    ("fc:/d/f", "L/nodir/", "no such directory"),
    ("fc:/d/f", "L/nodir/x", 'invalid output path: directory "L/nodir" does not exist'),
    ("fc:/d", "L/one", "cannot copy directory"),
    ("fc:/d/f/", "L/", "lstat /d/f/: not a directory"),
    ("fc:/d/f", "L/one/x", "stat L/one/x: not a directory"),
    ("-L fc:/dang", "L/", "Could not find the file /nowhere in container fc"),
    ("fc:/d/f", "/dev/null", 'invalid output path: "/dev/null" must be a directory or a regular file: got a device'),
    ("fc:/d/.", "L/other", 'cannot overwrite non-directory "L/other/sub" with directory "L/other"'),
    ("L/one", "fc:/nope/", "no such directory"),
    ("L/one", "fc:/nope/x", "Could not find the file /nope in container fc"),
    ("L/src", "fc:/d/f", "cannot copy directory"),
    ("L/src/.", "fc:/d2/.", "Could not find the file /d2 in container fc"),
    ("L/nope", "fc:/", "lstat L/nope: no such file or directory"),
    ("L/one", "fc:/d/f/x", "extraction point is not a directory"),
    ("L/one", "fc:", "no such directory"),
    ("L/clash/.", "fc:/d", 'cannot overwrite non-directory "/d/f" with directory "/d"'),
    ("L/other/.", "fc:/d", 'cannot overwrite directory "/d/sub" with non-directory "/d"'),
    ("-", "fc:/d/f", 'destination "fc:/d/f" must be a directory'),
    ("L/one", "L/two", "must specify at least one container source"),
    ("fc:/d", "fc:/e", "copying between containers is not supported"),
    ("L/one", "nosuch:/x", "No such container: nosuch"),
]


@pytest.mark.parametrize("container", ["running"], indirect=True)
def test_what_docker_refuses_is_refused_in_its_words(cais, container, local):
    for source, target, message in REFUSED:
        words = [word.replace("L", str(local), 1) if word[0] == "L" else word for word in [*source.split(), target]]
        said = cais("cp", *words, code=1, input=b"").stderr.decode()
        assert said.splitlines()[0] == "Error: " + message.replace("L/", f"{local}/"), words
    assert sorted(path.name for path in local.iterdir()) == ["clash", "dirlink", "dst", "link", "one", "other", "src"]


OUT = [
    ("/d", "new", {"new": "d", "new/f": "-", "new/l": "l", "new/p": "p", "new/sub": "d"}),
    ("/d", "dst", {"dst/d": "d", "dst/d/f": "-"}),
    ("/d/.", "dst", {"dst/f": "-", "dst/sub": "d"}),
    ("/d/", "dst/", {"dst/d/f": "-"}),
    ("/dl", "dst", {"dst/dl": "l"}),
    ("/dl/", "new", {"new/f": "-"}),
    ("-L /dl", "followed", {"followed": "d", "followed/f": "-"}),
    ("/dang", "dst", {"dst/dang": "l"}),
    ("/d/f", "one", {"one": "-"}),
    ("/d/f", "link", {"one": "-", "link": "l"}),
    ("d/f", "rel", {"rel": "-"}),
    ("/d/p", "pipe", {"pipe": "p"}),
]


def test_what_comes_out_is_where_docker_puts_it(cais, container, local):
    for source, target, expected in OUT:
        *flags, path = source.split()
        shutil.rmtree(local / "new", ignore_errors=True)
        cais("cp", *flags, f"fc:{path}", f"{local}/{target}")
        found = {name: stat.filemode((local / name).lstat().st_mode)[0] for name in expected}
        assert found == expected, (source, target)
    assert (local / "one").read_text() == "hi\n"


INTO = [
    ("src", "/newd", ["newd/", "newd/sub/", "newd/sub/s"]),
    ("src", "/newd", ["newd/", "newd/src/", "newd/src/sub/", "newd/src/sub/s", "newd/sub/", "newd/sub/s"]),
    ("src/.", "/d/sub", ["sub/", "sub/sub/", "sub/sub/s"]),
    ("link", "/", ["link"]),
    ("-L link", "/", ["link"]),
    ("dirlink/", "/dd", ["dd/", "dd/sub/", "dd/sub/s"]),
    ("one", "/dl", ["one"]),
    ("one", "/d/f", ["f"]),
    ("one", "/d/p", ["p"]),
    ("one", "/dang", ["nowhere"]),
]


def test_what_goes_in_is_where_docker_puts_it(cais, container, local):
    for source, target, names in INTO:
        *flags, path = source.split()
        cais("cp", *flags, f"{local}/{path}", f"fc:{target}")
        place = {"/": "/link", "/dl": "/d/one", "/dang": "/nowhere"}.get(target, target)
        assert entries(cais, f"fc:{place}") == names, (source, target)
    for path in ("/d/f", "/d/one", "/nowhere", "/link"):
        assert content(cais, f"fc:{path}") == b"one\n"
    assert "/link" in cais.text("diff", "fc")


def archive(cais, source):
    import io

    return tarfile.open(fileobj=io.BytesIO(cais("cp", source, "-").stdout))


def entries(cais, source):
    return sorted(item.name + "/" * item.isdir() for item in archive(cais, source))


def content(cais, source):
    found = archive(cais, source)
    return found.extractfile(found.next()).read()


def test_owners_modes_and_times_are_kept_on_the_way_in(cais, container, tmp_path):
    file = tmp_path / "file"
    file.write_text("x")
    os.chown(file, 77, 88)
    file.chmod(0o4751)
    os.utime(file, (1000, 1000))
    os.setxattr(file, "user.k", b"v")
    cais("cp", str(file), "fc:/kept")
    item = archive(cais, "fc:/kept").next()
    assert (item.uid, item.gid, item.mode, item.mtime) == (77, 88, 0o4751, 1000)
    assert item.pax_headers["SCHILY.xattr.user.k"] == "v"
    cais("cp", "fc:/kept", f"{tmp_path}/mine")
    cais("cp", "-a", "fc:/kept", f"{tmp_path}/theirs")
    mine, theirs = (tmp_path / "mine").stat(), (tmp_path / "theirs").stat()
    assert (mine.st_uid, mine.st_gid, mine.st_mode & 0o7777) == (0, 0, 0o4751)
    assert (theirs.st_uid, theirs.st_gid) == (77, 88)


def test_archive_mode_gives_what_comes_in_to_the_containers_user(cais, tmp_path):
    (tmp_path / "file").write_text("x")
    cais("create", "--name", "owned", "-u", "ada", "box")
    try:
        cais("cp", "-a", str(tmp_path / "file"), "owned:/file")
        item = archive(cais, "owned:/file").next()
        assert (item.uid, item.gid) == (1000, 1000)
    finally:
        cais("rm", "owned")


def test_hard_links_holes_and_special_files(cais, container, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "a").write_text("a")
    os.link(source / "a", source / "b")
    with open(source / "sparse", "wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"data")
    os.mknod(source / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    cais("cp", str(source), "fc:/special")
    cais("cp", "fc:/special", f"{tmp_path}/back")
    back = tmp_path / "back"
    assert (back / "a").stat().st_ino == (back / "b").stat().st_ino
    assert (back / "sparse").stat().st_size == 1 << 30
    assert (back / "sparse").stat().st_blocks * 512 < 1 << 20
    assert stat.S_ISCHR((back / "null").stat().st_mode) and (back / "null").stat().st_rdev == os.makedev(1, 3)


def test_volumes_and_binds_are_reached_and_what_is_read_only_is_not_written(cais, tmp_path):
    (tmp_path / "bind").mkdir()
    (tmp_path / "file").write_text("x\n")
    bind = f"{tmp_path}/bind:/b:ro"
    cais("create", "--name", "ro", "--network", "none", "--read-only", "-v", "vol:/v", "-v", bind, "box", "sleep", "99")
    try:
        for state in ("created", "running"):
            cais("cp", str(tmp_path / "file"), f"ro:/v/{state}")
            assert content(cais, f"ro:/v/{state}") == b"x\n"
            for target, message in (("/etc/x", "container rootfs is marked"), ("/b/x", "mounted volume is marked")):
                said = cais("cp", str(tmp_path / "file"), f"ro:{target}", code=1).stderr.decode()
                assert said.splitlines()[0] == f"Error: {message} read-only"
            if state == "created":
                assert cais.text("diff", "ro") == ""
                cais("start", "ro")
        volume = cais.text("volume", "inspect", "-f", "{{.Mountpoint}}", "vol")
        assert sorted(os.listdir(volume)) == ["created", "running"]
        assert os.listdir(tmp_path / "bind") == []
    finally:
        cais("rm", "-f", "ro")


def test_a_mounted_file_is_written_where_it_is(cais, container, tmp_path):
    (tmp_path / "hosts").write_text("10.0.0.1 elsewhere\n")
    cais("cp", str(tmp_path / "hosts"), "fc:/etc/hosts")
    assert content(cais, "fc:/etc/hosts") == b"10.0.0.1 elsewhere\n"


@pytest.mark.parametrize("container", ["running"], indirect=True)
def test_file_systems_of_the_kernel_are_not_walked(cais, container):
    names = entries(cais, "fc:/")
    assert "./d/f" in names or "d/f" in [name.removeprefix("./") for name in names]
    assert not [name for name in names if name.startswith(("./proc/", "./sys/", "./dev/")) and name.count("/") > 2]


def test_the_size_is_told_as_docker_counts_it(cais, container, tmp_path):
    (tmp_path / "file").write_text("x")
    said = cais("cp", "--quiet=false", str(tmp_path / "file"), "fc:/d/").stderr.decode()
    assert said == "Successfully copied 2.05kB to fc:/d/\n"
    said = cais("cp", "--quiet=false", "fc:/d/sub", str(tmp_path)).stderr.decode()
    assert said == f"Successfully copied 1.54kB to {tmp_path}\n"
    assert cais("cp", "fc:/d/sub", str(tmp_path)).stderr == b""


def test_a_tar_archive_goes_through_both_ways(cais, container, tmp_path):
    made = tmp_path / "made.tar"
    subprocess.run(["tar", "-C", "/usr/share", "-cf", str(made), "zoneinfo/Europe"], check=True)
    with made.open("rb") as file:
        cais("cp", "-", "fc:/d/sub", stdin=file)
    assert len([name for name in entries(cais, "fc:/d/sub") if name.startswith("sub/zoneinfo/Europe/")]) > 20
    assert cais("cp", "-", "fc:/d/sub", input=b"junk", code=1).stderr.startswith(b"Error: ")


DIFFED = [
    # As docker 26 listed them: a directory's time says nothing, a replaced one shows what was in it.
    ("echo more >>/a/b/c/f; chmod 600 /a/two; mv /a/b/c/l /a/b/c/m",
     "C /a\nC /a/b\nC /a/b/c\nC /a/b/c/f\nD /a/b/c/l\nA /a/b/c/m\nC /a/two"),
    ("rm -r /o/p; mkdir /o/p; echo n >/o/p/new", "C /o\nC /o/p\nA /o/p/new\nD /o/p/x"),
    ("rm /q/r; mkdir /q/r; touch /q/r/z", "C /q\nC /q/r\nA /q/r/z"),
    ("chmod 700 /a/b; chown 5 /q/r; rm -r /o", "C /a\nC /a/b\nD /o\nC /q\nC /q/r"),
    ("rm -r /o; mkdir /o; touch -d @100000 /q", "C /o\nD /o/p"),
    ("true", ""),
]  # fmt: skip


def test_diff_is_dockers(cais, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM box\nRUN mkdir -p /a/b/c /o/p /q && echo 1 >/a/b/c/f && echo 2 >/o/p/x && echo 3 >/q/r && "
        "ln -s f /a/b/c/l\nRUN echo 5 >/a/two\n"
    )
    cais("build", "-q", "-t", "diffed", str(tmp_path))
    for script, expected in DIFFED:
        cais("run", "--name", "differs", "--network", "none", "-v", "/mounted/here", "diffed", "sh", "-c", script)
        assert cais.text("diff", "differs") == expected, script
        cais("rm", "-v", "differs")


def test_export_is_the_same_twice_and_without_mounts(cais, container, tmp_path):
    first = cais("export", "fc").stdout
    cais("export", "-o", str(tmp_path / "second.tar"), "fc")
    assert (tmp_path / "second.tar").read_bytes() == first
    with tarfile.open(tmp_path / "second.tar") as file:
        names = file.getnames()
    assert {"d", "d/f", "d/l", "d/p", "bin/busybox", "etc/passwd"} <= set(names)
    assert not [name for name in names if name.startswith(("proc/", "sys/", "dev/", "etc/hosts"))]
    cais("import", "--change", "CMD sh", str(tmp_path / "second.tar"), "again")
    assert cais.text("run", "--rm", "--network", "none", "again", "cat", "/d/f") == "hi"


def test_export_refuses_a_terminal(cais, container):
    import pty

    master, slave = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-m", "cais", "export", "fc"], env=cais.environment, stdout=slave, stderr=subprocess.PIPE
    )
    os.close(master)
    os.close(slave)
    assert done.returncode == 1
    assert done.stderr == b"Error: cowardly refusing to save to a terminal. Use the -o flag or redirect\n"
