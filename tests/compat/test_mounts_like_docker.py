"""What is mounted in a container: volumes and parts of them, binds, tmpfs, images; with docker 26's results."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.root


class Cais:
    def __init__(self, root):
        self.environment = {**os.environ, "CAIS_ROOT": str(root)}

    def __call__(self, *words, code=0):
        command = [sys.executable, "-m", "cais", *words]
        done = subprocess.run(
            command, env=self.environment, capture_output=True, timeout=60, check=False, text=True
        )  # fmt: skip
        assert code is None or done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return (done.stdout + done.stderr).strip()

    def sh(self, script, *flags, image="box", code=0):
        return self("run", "--rm", "--network", "none", *flags, image, "sh", "-c", script, code=code)


@pytest.fixture(scope="module")
def cais(busybox_tar, tmp_path_factory):
    if os.geteuid() != 0 or not (shutil.which("crun") or shutil.which("runc")):
        pytest.skip("needs root and an OCI runtime")
    made = Cais(tmp_path_factory.mktemp("root"))
    made("import", "--change", "CMD sh", str(busybox_tar), "box")
    context = tmp_path_factory.mktemp("context")
    (context / "Dockerfile").write_text(
        "FROM box\nRUN mkdir -p /tools/bin /own/deep && echo tool >/tools/bin/tool && ln -s /tools/bin /way && "
        "ln -s ../../../../etc /climbs && ln -s /nowhere/yet /dangling && echo seed >/own/deep/seed && "
        "chown -R 7:8 /own && chmod 2750 /own && ln /own/deep/seed /own/hard\nVOLUME /own\n"
    )
    made("build", "-q", "-t", "tools", str(context))
    return made


@pytest.fixture
def volume(cais):
    """A volume's name and directory."""
    cais("volume", "create", "parts")
    path = cais("volume", "inspect", "-f", "{{.Mountpoint}}", "parts")
    os.makedirs(f"{path}/in/side")
    for name in ("in/side/file", "file"):
        with open(f"{path}/{name}", "w") as file:
            file.write(f"{name}\n")
    os.symlink("/", f"{path}/in/up")
    os.symlink("../../../../../../etc", f"{path}/climbs")
    yield "parts", path
    cais("volume", "rm", "-f", "parts")


def test_a_part_of_a_volume(cais, volume):
    mount = "type=volume,src=parts,dst=/s"
    assert cais.sh("cat /s/file; echo new >/s/new", "--mount", f"{mount},volume-subpath=in/side") == "in/side/file"
    assert os.path.exists(f"{volume[1]}/in/side/new")
    assert cais.sh("cat /s/one", "--mount", "type=volume,src=parts,dst=/s/one,volume-subpath=file") == "file"


def test_a_part_of_a_volume_is_in_the_volume(cais, volume):
    mount = "type=volume,src=parts,dst=/s"
    assert cais.sh("ls /s", "--mount", f"{mount},volume-subpath=in/up") == "climbs\nfile\nin"
    for path in ("climbs", "nope", "in/up/etc"):
        said = cais.sh("ls /s", "--mount", f"{mount},volume-subpath={path}", code=125)
        assert said.splitlines()[0].startswith(f"Error: cannot access path {path} in the volume parts: no such file")


def test_a_part_of_a_volume_that_is_exchanged_meanwhile(cais, volume, tmp_path):
    (tmp_path / "secret").write_text("of the host alone")
    path = volume[1]
    os.symlink(f"../../../../../../../../../../../..{tmp_path}", f"{path}/in/link")
    child = os.fork()
    if child == 0:
        try:
            libc = ctypes.CDLL(None)
            directory = os.open(f"{path}/in", os.O_RDONLY)
            while True:
                libc.syscall(316, directory, b"side", directory, b"link", 2)  # renameat2, RENAME_EXCHANGE
        finally:
            os._exit(1)
    try:
        flags = ("--mount", "type=volume,src=parts,dst=/s,volume-subpath=in/side")
        seen = set()
        for _ in range(8):
            seen.update(cais.sh("ls /s", *flags, code=None).splitlines())
        assert seen and all(line in ("file", "") or line.startswith(("Error: cannot", "Run")) for line in seen), seen
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_an_image(cais):
    said = cais.sh("cat /i/tools/bin/tool; echo >/i/new", "--mount", "type=image,src=tools,dst=/i", code=1)
    assert said == "tool\nsh: can't create /i/new: Read-only file system"
    for path in ("tools/bin", "way"):
        assert cais.sh("ls /i", "--mount", f"type=image,src=tools,dst=/i,image-subpath={path}") == "tool"
    said = cais.sh("ls", "--mount", "type=image,src=tools,dst=/i,image-subpath=climbs/shadow", code=125)
    assert "no such file or directory" in said
    assert "No such image: nosuch:latest" in cais.sh("ls", "--mount", "type=image,src=nosuch,dst=/i", code=125)


def test_a_mounted_image_stays_as_long_as_its_container(cais, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /kept\n")
    cais("build", "-q", "-t", "kept", str(tmp_path))
    cais("create", "--name", "keeps", "--network", "none", "--mount", "type=image,src=kept,dst=/i", "box", "ls", "/i")
    try:
        cais("rmi", "-f", "kept")
        cais("builder", "prune", "-af")
        cais("system", "check", "--repair")
        assert cais("start", "-a", "keeps") == "kept"
        assert cais("cp", "keeps:/i/kept", str(tmp_path / "copied")) == ""
    finally:
        cais("rm", "keeps")


def test_a_volume_of_the_image_begins_as_the_image_has_it(cais):
    script = "stat -c '%u:%g %a' /own; stat -c '%u %h' /own/deep/seed; cat /own/hard"
    expected = "7:8 2750\n7 2\nseed"
    assert cais.sh(script, image="tools") == expected
    assert cais.sh(script, "-v", "named:/own", image="tools") == expected
    assert cais.sh("ls /own", "-v", "bare:/own:nocopy", image="tools") == ""
    assert cais.sh("ls /own", "--mount", "src=bare,dst=/own,volume-nocopy", image="tools") == ""


def test_volumes_of_another_container(cais, tmp_path):
    (tmp_path / "file").write_text("bound\n")
    bind = f"{tmp_path}:/two:ro"
    cais("create", "--name", "other", "-v", "first:/one", "-v", bind, "-v", "/three", "--tmpfs", "/four", "box")
    try:
        script = "cat /two/file; echo x >>/one/x && cat /one/x; ls -d /three; ls /four; echo >/two/x"
        said = cais.sh(script, "--volumes-from", "other", code=1)
        assert said.splitlines()[:3] == ["bound", "x", "/three"]
        assert "ls: /four" in said and "can't create /two/x: Read-only" in said
        said = cais.sh("echo x >/one/x", "--volumes-from", "other:ro", code=1)
        assert said == "sh: can't create /one/x: Read-only file system"
        assert cais.sh("ls /one", "--volumes-from", "other", "-v", "second:/one") == ""
        assert "No such container: nosuch" in cais.sh("ls", "--volumes-from", "nosuch", code=125)
    finally:
        cais("rm", "-v", "other")


TMPFS = {
    ("--tmpfs", "/new"): "rw,nosuid,nodev,noexec,relatime 1777",
    ("--tmpfs", "/etc"): "rw,nosuid,nodev,noexec,relatime 755",
    ("--tmpfs", "/new:size=1m,mode=1700,exec"): "rw,nosuid,nodev,relatime,size=1024k,mode=1700 1700",
    ("--tmpfs", "/new:ro,uid=5"): "ro,nosuid,nodev,noexec,relatime,uid=5 1777",
    ("--mount", "type=tmpfs,dst=/new,tmpfs-size=2m,tmpfs-mode=0751"):
        "rw,nosuid,nodev,noexec,relatime,size=2048k,mode=751 751",
}  # fmt: skip


@pytest.mark.parametrize("flags", TMPFS)
def test_tmpfs(cais, flags):
    target = "/etc" if "/etc" in flags else "/new"
    script = f"grep ' {target} ' /proc/mounts | cut -d' ' -f4; stat -c %a {target}"
    options, mode = cais.sh(script, *flags).splitlines()
    wanted, mode_wanted = TMPFS[flags].split()
    assert mode == mode_wanted
    ours = set(options.split(",")) - {"inode64", "mode=755", "mode=1777"}
    assert ours == set(wanted.split(",")) - {"mode=755"}


@pytest.fixture
def nested(tmp_path):
    """A directory with a file system of its own mounted below it."""
    (tmp_path / "bound" / "below").mkdir(parents=True)
    (tmp_path / "bound" / "file").write_text("file\n")
    below = str(tmp_path / "bound" / "below")
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", below], check=True)
    with open(f"{below}/mark", "w"):
        pass
    yield str(tmp_path / "bound")
    subprocess.run(["umount", "-l", below], check=True)


NESTED = {
    "": "mark w w",
    ",ro": "mark r r",
    ",ro,bind-recursive=writable": "mark r w",
    ",ro,bind-recursive=readonly,bind-propagation=rprivate": "mark r r",
    ",bind-recursive=disabled": "- w w",
    ",ro,bind-recursive=disabled": "- r r",
}


@pytest.mark.parametrize("options", NESTED)
def test_what_is_mounted_below_a_bind(cais, nested, options):
    script = (
        "test -e /x/below/mark && printf mark || printf -- -; "
        "for f in /x/t /x/below/t; do touch $f 2>/dev/null && printf ' w' || printf ' r'; done"
    )
    assert cais.sh(script, "--mount", f"type=bind,src={nested},dst=/x{options}") == NESTED[options]


def test_a_mount_of_the_host_comes_in_where_it_was_asked_for(cais, tmp_path):
    """Propagation: with rslave a later mount of the host is seen inside, with rshared one from inside on the host."""
    source = str(tmp_path / "shared")
    os.makedirs(f"{source}/late")
    subprocess.run(["mount", "--bind", source, source], check=True)
    subprocess.run(["mount", "--make-shared", source], check=True)
    names = {"rslave": "seen", "rprivate": "unseen", "rshared": "both"}
    try:
        for propagation, name in names.items():
            flags = ("--network", "none", "--privileged", "-v", f"{source}:/x:{propagation}")
            cais("run", "-d", "--name", name, *flags, "box", "sleep", "99")
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", f"{source}/late"], check=True)
        with open(f"{source}/late/mark", "w"):
            pass
        found = {name: cais("exec", name, "ls", "/x/late") for name in names.values()}
        assert found == {"seen": "mark", "unseen": "", "both": "mark"}
        os.mkdir(f"{source}/inner")
        for name in names.values():
            cais("exec", name, "mount", "-t", "tmpfs", "tmpfs", "/x/inner")
            on_host = os.path.ismount(f"{source}/inner")
            assert on_host == (name == "both")
    finally:
        for name in names.values():
            subprocess.run([sys.executable, "-m", "cais", "rm", "-f", name], env=cais.environment, capture_output=True)
        for name in ("late", "inner"):
            subprocess.run(["umount", "-l", f"{source}/{name}"], check=False, capture_output=True)
        subprocess.run(["umount", "-l", source], check=True)


def test_links_of_the_image_stay_inside(cais, tmp_path):
    (tmp_path / "file").write_text("bound\n")
    before = sorted(os.listdir("/etc"))
    for target, seen in (
        ("/way/deep", "/tools/bin/deep"),
        ("/climbs/deep", "/etc/deep"),
        ("/dangling", "/nowhere/yet"),
    ):
        assert cais.sh(f"cat {seen}/file", "-v", f"{tmp_path}:{target}", image="tools") == "bound"
    assert sorted(os.listdir("/etc")) == before and not os.path.exists("/nowhere")


def test_order_files_and_missing_sources(cais, tmp_path):
    for name in ("deep", "top"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(f"{name}\n")
    (tmp_path / "passwd").write_text("mine\n")
    flags = ("-v", f"{tmp_path}/deep:/a/b", "-v", f"{tmp_path}/top:/a", "-v", f"{tmp_path}/passwd:/etc/passwd:ro")
    assert cais.sh("cat /a/name /a/b/name /etc/passwd", *flags) == "top\ndeep\nmine"
    assert cais.sh("ls /x", "-v", f"{tmp_path}/made:/x") == "" and (tmp_path / "made").is_dir()
    missing = f"{tmp_path}/missing"
    said = cais("create", "--mount", f"type=bind,src={missing},dst=/x", "box", code=125)
    assert f'invalid mount config for type "bind": bind source path does not exist: {missing}' in said
    assert cais.sh("ls /x", "--mount", f"type=bind,src={missing},dst=/x,bind-create-src") == ""
    said = cais.sh("ls", "-v", f"{tmp_path}/passwd:/etc", code=125)
    assert "Are you trying to mount a directory onto a file (or vice-versa)?" in said


def test_nothing_stays_mounted(cais):
    root = cais.environment["CAIS_ROOT"]
    with open("/proc/self/mounts") as mounts:
        assert root not in mounts.read()
    assert [name for name in os.listdir(f"{root}/run") if not name.startswith(".")] == []
