"""Everything as an ordinary user, and as one whom the host gives less: the command itself, in its own process."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from integration import foreign
from integration.command import PROJECT, Command
from integration.ordinary import Cais, Make, alive, as_user, wait_until

pytestmark = pytest.mark.root

# cap_net_raw, permitted and effective, in the kernel's second format
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
OWNERS = """FROM box
COPY --chown=1000:1000 file /file
COPY --chmod=4755 file /setuid
WORKDIR /home/ada
COPY --from=box /data /copied
"""


def hiding(path: str, prefix: tuple[str, ...]) -> tuple[str, ...]:
    """``prefix`` where the file ``path`` is not."""
    script = f'mount --bind /dev/null {path} && exec "$@"'
    return ("unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *prefix)


def without_namespaces(directory: Path, prefix: tuple[str, ...]) -> tuple[str, ...]:
    """``prefix`` in a chroot of the same files: the kernel makes no user namespace there."""
    script = 'mount --rbind / "$1" && exec chroot "$@"'
    start = ("unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", str(directory))
    # chroot(1) changes to the new root: back to where we were.
    return (*start, *prefix, "sh", "-c", 'cd "$HOME" && exec "$@"', "sh")


POWERLESS = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")


@pytest.fixture(scope="module")
def cais(make: Make, ordinary_account: Any) -> Cais:
    if not shutil.which("crun") and not shutil.which("runc"):
        pytest.skip("needs an OCI runtime")
    return make(as_user(ordinary_account), ordinary_account.user_id)


@pytest.fixture(scope="module")
def as_root(make: Make) -> Cais:
    return make((), 0)


def layers(archive: Path) -> list[tarfile.TarFile]:
    """The plain layers of a saved image."""
    with tarfile.open(archive) as saved:
        manifest = json.load(saved.extractfile("manifest.json"))  # type: ignore[arg-type]
        return [tarfile.open(fileobj=io.BytesIO(saved.extractfile(name).read())) for name in manifest[0]["Layers"]]  # type: ignore[union-attr]


def test_an_image_is_what_root_would_have_built(cais: Cais, as_root: Cais, ordinary_account: Any) -> None:
    cais.build("owners", OWNERS)
    as_root.build("owners", OWNERS)
    assert cais.inspect("owners")["RootFS"] == as_root.inspect("owners")["RootFS"]
    # On disk the files are the subordinate ids'.
    owners = {path.lstat().st_uid for path in cais.root.glob("snapshots/*/fs/file")}
    assert ordinary_account.first_subordinate_id + 999 in owners  # images of other tests have such a file, too
    cais("save", "-o", "owners.tar", "owners")
    members = {member.name: member for layer in layers(cais.root.parent / "owners.tar") for member in layer}
    assert (members["file"].uid, members["file"].gid) == (1000, 1000)
    assert (members["setuid"].uid, members["setuid"].mode) == (0, 0o4755)
    cais("rmi", "owners")
    cais("load", "-i", "owners.tar")
    assert cais.sh("stat -c '%u:%g %a' /file /setuid", image="owners") == ["1000:1000 644", "0:0 4755"]
    assert cais("system", "check") == "All is well\n"


def test_steps_run_as_users_of_the_image(cais: Cais) -> None:
    text = """FROM box
RUN id -u; touch /first; chown 33:44 /first; chmod 2755 /first
USER ada
WORKDIR /home/ada/work
RUN id -un; touch second; ! touch /third
USER 60000:60001
RUN id -u
"""
    cais.build("steps", text)
    script = "stat -c '%u:%g %a' /first /home/ada/work/second; id -u; id -g"
    assert cais.sh(script, image="steps") == ["33:44 2755", "1000:1000 644", "60000", "60001"]


def test_limits_that_the_host_does_not_give_are_said_and_the_build_goes_on(cais: Cais) -> None:
    text = "FROM box\nRUN ulimit -n > /files; grep -c SigCgt /proc/self/status > /seen\nRUN true\n"
    flags = ("-m", "64m", "--cpu-shares", "512", "--cgroup-parent", "mine", "--ulimit", "nofile=100:200")
    said = cais("build", "--progress=plain", "-t", "limited", "-f", "-", *flags, "context", stdin=text.encode())
    for what in ("memory is not limited", "processor time is not limited", "--cgroup-parent is not used"):
        assert said.count(what) == 1, said
    assert cais.sh("cat /files", image="limited") == ["100"]


def test_an_insecure_step_has_what_the_user_may_give(cais: Cais) -> None:
    text = (
        "FROM box\nRUN --security=insecure mkdir /m; mount -t tmpfs none /m && grep CapEff /proc/self/status > /caps\n"
    )
    assert "security.insecure is not allowed" in cais.build("insecure", text, code=1)
    cais.build("insecure", text, "--allow", "security.insecure")
    (line,) = cais.sh("cat /caps", image="insecure")
    assert int(line.split()[1], 16) >> 21 & 1


def test_a_capability_is_kept(cais: Cais, tmp_path: Path) -> None:
    with tarfile.open(cais.root.parent / "context" / "files.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        capable = tarfile.TarInfo("bin/capable")
        capable.mode, capable.size = 0o755, 3
        capable.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")}
        tar.addfile(capable, io.BytesIO(b"abc"))
    cais.build("capable", "FROM box AS first\nADD files.tar /\nFROM box\nCOPY --from=first /bin/capable /bin/other\n")
    cais("save", "-o", "capable.tar", "capable")
    (member,) = (item for layer in layers(cais.root.parent / "capable.tar") for item in layer if "other" in item.name)
    found = member.pax_headers["SCHILY.xattr.security.capability"]
    assert found.encode("utf-8", "surrogateescape") == CAPABILITY
    cais("rmi", "capable")
    cais("load", "-i", "capable.tar")
    cais.sh("true", image="capable")  # unpacked now
    assert cais("system", "check") == "All is well\n"


def test_what_run_offers(cais: Cais) -> None:
    assert cais.sh("id -u; id -g; exit 7", "-u", "33:44", code=7) == ["33", "44"]
    assert cais("run", "--rm", "--network", "none", "-i", "box", "cat", stdin=b"in\n") == "in\n"
    assert cais("run", "--rm", "--network", "none", "-t", "box", "tty") == "/dev/pts/0\r\n"
    assert cais.sh("ls /sys/class/net", "--network", "none") == ["lo"]
    # Not by its links: other tests make and remove bridges meanwhile.
    assert cais.sh("readlink /proc/self/ns/net", "--network", "host") == [os.readlink("/proc/self/ns/net")]
    assert "Read-only file system" in cais.sh("touch /x", "--read-only", code=1)[0]
    assert cais.sh("cat /proc/1/comm", "--init")[0] != "cat"
    assert "tmpfs" in cais.sh("grep ' /t ' /proc/mounts", "--tmpfs", "/t")[0]
    assert "nothere" in cais("run", "--rm", "box", "nothere", code=127)
    cais.assert_nothing_left()


def test_flags_of_isolation(cais: Cais) -> None:
    flags = ("--network", "none")
    script = f"ls -d /dev/x /proc/{os.getpid()}; hostname; cat /proc/self/oom_score_adj"
    said = cais.sh(script, *flags, "--pid", "host", "--uts", "host", "--ipc", "host", "--device", "/dev/null:/dev/x",
                   "--oom-score-adj", "500")  # fmt: skip
    assert said == ["/dev/x", f"/proc/{os.getpid()}", os.uname().nodename, "500"]
    said = cais.sh("grep -e CapEff -e Seccomp: /proc/self/status", *flags, "--privileged")
    assert said[0].split()[1].strip("0")[-8:] == "f" * 8 and said[1].split()[1] == "0"
    assert "may not make it smaller" in "".join(cais.sh("true", *flags, "--oom-score-adj", "-900"))
    refused = cais.sh("true", *flags, "--storage-opt", "size=1g", code=125)
    assert any("--storage-opt" in line for line in refused)


def test_namespaces_of_another_container(cais: Cais, conmon: None) -> None:
    cais("run", "-d", "--name", "donor", "--network", "none", "--ipc", "shareable", "box", "sh", "-c",
         "echo shared >/dev/shm/file; exec sleep 1000")  # fmt: skip
    joined = ("--network", "none", "--pid", "container:donor", "--ipc", "container:donor")
    wait_until(lambda: "shared" in cais.sh("cat /dev/shm/file; true", *joined))
    assert any("sleep 1000" in line for line in cais.sh("ps", *joined))
    cais("rm", "-f", "donor")
    cais.assert_nothing_left()


def test_volumes_and_bound_directories(cais: Cais, ordinary_account: Any) -> None:
    script = "cat /data/seed; echo more > /data/more; chown 1000:1000 /data/more"
    assert cais.sh(script, "-v", "named:/data") == ["from the image"]
    assert cais.sh("cat /data/more; touch /data/own", "-u", "1000", "-v", "named:/data", code=1)[0] == "more"
    bound = cais.root.parent / "bound"
    bound.mkdir()
    os.chown(bound, ordinary_account.user_id, ordinary_account.group_id)
    cais.sh("touch /b/mine /b/theirs; chown 5:6 /b/theirs", "-v", f"{bound}:/b")
    assert (bound / "mine").stat().st_uid == ordinary_account.user_id
    assert (bound / "theirs").stat().st_uid == ordinary_account.first_subordinate_id + 4
    cais("volume", "rm", "named")
    assert cais("volume", "ls", "-q") == ""
    assert list((cais.root / "volumes").iterdir()) == []


def test_a_detached_container_and_other_commands(cais: Cais, conmon: None) -> None:
    """Each command has its own user namespace, and the container another user id than any of them."""
    script = "trap 'echo bye; exit 3' TERM; echo hi; while :; do sleep 0.1; done"
    cais("run", "-d", "--name", "free", "-u", "1000", "box", "sh", "-c", script)
    wait_until(lambda: cais("logs", "free") == "hi\n")
    assert "Up" in cais("ps")
    cais("stop", "free")
    assert cais("wait", "free") == "3\n" and cais("logs", "free") == "hi\nbye\n"
    cais("start", "free")
    cais("kill", "free")
    assert cais("wait", "free") == "137\n"
    cais("start", "free")
    cais("rm", "-f", "free")
    cais("run", "-d", "--rm", "--name", "brief", "box", "true")
    cais.assert_nothing_left()


def test_a_container_becomes_an_image(cais: Cais) -> None:
    cais("run", "--name", "changed", "box", "sh", "-c", "echo new > /new; chown 7:8 /new; rm /data/seed")
    cais("commit", "changed", "committed")
    cais("rm", "changed")
    assert cais.sh("stat -c %u:%g /new; ls /data", image="committed") == ["7:8"]
    cais("rmi", "committed")
    cais.assert_nothing_left()


def test_put_out_files_are_the_users_own(cais: Cais, ordinary_account: Any) -> None:
    cais.build("any", OWNERS, "-o", "type=local,dest=out")
    out = cais.root.parent / "out"
    assert {path.lstat().st_uid for path in [out, *out.rglob("*")]} == {ordinary_account.user_id}
    subprocess.run([*as_user(ordinary_account), "rm", "-r", str(out)], check=True)
    cais.build("any", OWNERS, "-o", "type=tar,dest=out.tar")
    with tarfile.open(cais.root.parent / "out.tar") as tar:
        assert tar.getmember("file").uid == 1000


def test_an_imported_cache_is_unpacked_when_it_is_run(cais: Cais) -> None:
    text = "FROM box\nCOPY --chown=1000:1001 file /imported\nRUN echo more > /later; chown 33 /later\n"
    cais.build("imported", text, "--cache-to", "type=local,dest=cache,mode=max")
    cais("rmi", "imported")
    cais("builder", "prune", "-af")
    snapshots = cais.root / "snapshots"
    before = sorted(snapshots.iterdir())
    cais.build("imported", text, "--cache-from", "type=local,src=cache")
    assert sorted(snapshots.iterdir()) == before and cais("system", "check") == "All is well\n"
    assert cais.sh("stat -c '%u:%g' /imported /later", image="imported") == ["1000:1001", "33:0"]
    assert len(list(snapshots.iterdir())) == len(before) + 2
    cais("rmi", "imported")
    cais.assert_nothing_left()


@pytest.mark.parametrize("what", ["run", "build"])
def test_killed_in_the_middle(cais: Cais, what: str) -> None:
    mark = f"98{len(what)}{os.getpid()}"
    if what == "run":
        started = cais.start("run", "--rm", "--name", "victim", "-u", "1000", "box", "sleep", mark)
    else:
        (cais.root.parent / "context" / "Dockerfile").write_text(f"FROM box\nUSER 1000\nRUN exec sleep {mark}\n")
        started = cais.start("build", "context")
    inside = f"sleep\0{mark}"
    wait_until(lambda: alive(inside))
    # The prefix has replaced itself by the command: this is no wrapper's pid.
    started.kill()
    started.wait()
    started.stdout.close()  # type: ignore[union-attr]
    wait_until(lambda: not alive(inside))
    if what == "run":
        assert "Exited (137)" in cais("ps", "-a")
        cais("rm", "victim")
    cais.assert_nothing_left()
    assert cais.sh("echo fine") == ["fine"]


def test_several_at_once(cais: Cais) -> None:
    def build(number: int) -> subprocess.Popen[bytes]:
        context = cais.root.parent / "context"
        (context / f"Dockerfile.{number}").write_text(f"FROM box\nCOPY --chown=7 file /\nRUN echo {number % 2} > /n\n")
        return cais.start("build", "-q", "-t", f"many{number}", "-f", f"context/Dockerfile.{number}", "context")

    running = [build(number) for number in range(4)]
    running += [
        cais.start("run", "--rm", "--network", "none", "-u", str(number), "box", "id", "-u") for number in range(3)
    ]
    for process in running:
        said = process.communicate(timeout=120)[0]
        assert process.returncode == 0, said
    for number in range(4):
        assert cais.sh("cat /n; stat -c %u /file", image=f"many{number}") == [str(number % 2), "7"]
    cais.assert_nothing_left()


def test_damage_is_found_and_mended(cais: Cais) -> None:
    cais.build("damaged", OWNERS + "RUN echo more > /more\n")
    (more,) = cais.root.glob("snapshots/*/fs/more")
    os.chown(more, 0, 0)  # root's own: nobody in the user's namespace
    assert "1 problem" in cais("system", "check", code=1)
    os.chown(more, *((cais.root / "cais.db").stat().st_uid,) * 2)
    assert cais("system", "check") == "All is well\n"
    more.write_text("other")
    assert "has other files" in cais("system", "check", code=1)
    assert "3 problems" in cais("system", "check", "--repair")
    assert cais("system", "check") == "All is well\n"
    cais.build("damaged", OWNERS + "RUN echo more > /more\n")
    assert cais.sh("cat /more", image="damaged") == ["more"]


def test_everything_goes_away(make: Make, ordinary_account: Any) -> None:
    cais = make(as_user(ordinary_account), ordinary_account.user_id)
    cais.build("owners", OWNERS)
    cais("run", "--name", "one", "-v", "/data", "owners", "true")
    for command in (
        ("container", "prune", "-f"), ("image", "prune", "-af"), ("volume", "prune", "-f"), ("builder", "prune", "-f")
    ):  # fmt: skip
        cais(*command)
    assert list((cais.root / "snapshots").iterdir()) == [] and list((cais.root / "volumes").iterdir()) == []
    assert list((cais.root / "containers").iterdir()) == []
    assert not list((cais.root / "content" / "blobs").rglob("*/??*"))


def test_each_has_its_own_root_directory(cais: Cais, as_root: Cais) -> None:
    assert {root.stat().st_mode & 0o777 for root in (cais.root, as_root.root)} == {0o700}
    before = sorted(as_root.root.rglob("*"))
    for command in (("run", "--rm", "box", "true"), ("load", "-i", "/dev/null"), ("rmi", "box"), ("system", "check")):
        code = 125 if command[0] == "run" else 1
        theirs = cais._replace(root=as_root.root)(*command, code=code, env={"HOME": str(cais.root.parent)})
        assert f"root directory {as_root.root} belongs to" in theirs
        mine = as_root._replace(root=cais.root)(*command, code=code)
        assert f"root directory {cais.root} belongs to" in mine and "CAIS_ROOT" in mine
    assert sorted(as_root.root.rglob("*")) == before
    assert not [path for path in cais.root.rglob("*") if path.lstat().st_uid == 0]


@pytest.mark.parametrize("missing", ["/usr/bin/newuidmap", "/etc/subuid"])
def test_with_a_single_id(make: Make, ordinary_account: Any, missing: str) -> None:
    if not os.path.exists(missing):
        pytest.skip(f"{missing} is somewhere else")
    lone = make(hiding(missing, as_user(ordinary_account)), ordinary_account.user_id)
    reason = os.path.basename(missing)
    assert reason in lone("info")
    lone.build("plain", "FROM box\nCOPY --chmod=4755 file /\nRUN id -u && touch /x\n")
    assert lone.sh("stat -c '%u %a' /file /x", image="plain") == ["0 4755", "0 644"]
    for text in ("FROM box\nCOPY --chown=1000 file /\n", "FROM box\nUSER 1000\nRUN true\n"):
        assert "this user has" in lone.build("other", text, code=1)
    assert "this user has 1 id" in lone("run", "--rm", "-u", "1000", "box", "true", code=125)
    lone("save", "-o", "plain.tar", "plain")
    lone("rmi", "plain")
    lone("load", "-i", "plain.tar")
    lone.assert_nothing_left()
    several = "FROM box\nRUN true\n"
    with tarfile.open(lone.root.parent / "context" / "owned.tar", "w") as tar:
        member = tarfile.TarInfo("owned")
        member.uid = 1000
        tar.addfile(member)
    assert reason in lone.build("other", several + "ADD owned.tar /\n", code=1)


class Poor(NamedTuple):
    cais: Cais
    owner: tuple[int, int]
    reason: str


@pytest.fixture(params=["user without namespaces", "root without CAP_SYS_ADMIN", "such a root without namespaces"])
def poor(request: pytest.FixtureRequest, make: Make, ordinary_account: Any, tmp_path: Path) -> Poor:
    """Those who can mount nothing."""
    if request.param == "user without namespaces":
        prefix = without_namespaces(tmp_path, as_user(ordinary_account))
        return Poor(make(prefix, ordinary_account.user_id), (0, 0), "user namespace")
    prefix = POWERLESS if "namespaces" not in request.param else without_namespaces(tmp_path, POWERLESS)
    return Poor(make(prefix, 0), (1000, 1000), "CAP_SYS_ADMIN")


def test_without_mounts_what_only_copies_works(poor: Poor) -> None:
    cais = poor.cais
    info = cais("info")
    assert "Storage Driver: copies" in info and poor.reason in info
    cais.build("owners", OWNERS)
    cais("save", "-o", "owners.tar", "owners")
    cais("rmi", "owners")
    cais("load", "-i", "owners.tar")
    members = {member.name: member for layer in layers(cais.root.parent / "owners.tar") for member in layer}
    assert (members["file"].uid, members["file"].gid) == poor.owner
    assert members["setuid"].mode == 0o4755 and "copied/seed" in members
    cais.build("again", "FROM owners\nCOPY file /again\n")
    cais.build("any", OWNERS, "-o", "type=local,dest=out")
    assert (cais.root.parent / "out" / "file").read_text() == "content\n"
    refused = cais.build("other", "FROM box\nCOPY file /\nRUN true\n", code=1)
    assert ">>> RUN true" in refused
    for said in (
        refused,
        cais("run", "--rm", "box", "true", code=125),
        cais("run", "-d", "box", "true", code=125),
    ):
        assert poor.reason in said and "Builds without RUN work" in said
    cais("volume", "create", "named")
    cais("volume", "rm", "named")
    assert cais("system", "check", "--repair") == "All is well\n"
    cais("system", "df")
    cais("container", "prune", "-f")
    cais("image", "prune", "-af")
    cais("builder", "prune", "-af")
    assert cais("image", "ls", "-q") == "" and cais("ps", "-aq") == ""
    assert list((cais.root / "snapshots").iterdir()) == []


def test_debian_installs_packages(request: pytest.FixtureRequest, make: Make, ordinary_account: Any) -> None:
    """apt and dpkg of a real image: several owners, set-id programs, users that are made and become."""
    debian: Command = request.getfixturevalue("bare")
    rich = make(as_user(ordinary_account), ordinary_account.user_id)
    context = subprocess.run(
        [PROJECT / "images" / "make", "--contexts", "debian"],
        env={**debian.env, "CAIS": str(debian.path)}, stdout=subprocess.PIPE, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    with open(Path(context) / "rootfs.tar", "rb") as rootfs:
        process = rich.start("import", "-", "debian", stdin=rootfs)
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 0, said
    text = r"""FROM debian
RUN mkdir -p /p/DEBIAN /p/usr/lib/made && echo x > /p/usr/lib/made/file && chown 0:42 /p/usr/lib/made/file \
 && printf 'Package: made\nVersion: 1\nArchitecture: all\nMaintainer: nobody\nDescription: x\n' > /p/DEBIAN/control \
 && printf '#!/bin/sh\nuseradd -r -u 999 made\nchown made:shadow /usr/lib/made/file\n' > /p/DEBIAN/postinst \
 && chmod 755 /p/DEBIAN/postinst && dpkg-deb -b /p /tmp/made.deb && apt-get install -y /tmp/made.deb
RUN su made -s /bin/sh -c id && stat -c '%U:%G' /usr/lib/made/file && stat -c '%u:%g %a' /usr/bin/chage /var/mail
"""
    rich("build", "-t", "made", "-f", "-", "context", stdin=text.encode())
    script = "stat -c %u:%g /usr/lib/made/file; stat -c '%u:%g %a' /usr/bin/chage /usr/bin/passwd /var/mail"
    assert rich.sh(script, image="made") == ["999:42", "0:42 2755", "0:0 4755", "0:8 2775"]


def test_programs_of_another_architecture(cais: Cais) -> None:
    """Nothing is registered for the machine: the user's own namespace has handlers of its own."""
    if not shutil.which(foreign.QEMU) or os.uname().machine != "x86_64":
        pytest.skip(f"needs {foreign.QEMU} (package qemu-user-static) on x86_64")
    if tuple(map(int, os.uname().release.split(".")[:2])) < (6, 7):
        pytest.skip("needs Linux 6.7: namespaces of users have no handlers of their own before")
    before = os.listdir("/proc/sys/fs/binfmt_misc")
    context = cais.root.parent / "context"
    (context / "program").write_bytes(foreign.program())
    (context / "program").chmod(0o755)
    words = ("--progress=plain", "--platform=linux/arm64", "-f", "-", "context")
    assert "made on arm64" in cais("build", *words, stdin=foreign.DOCKERFILE.encode())
    assert os.listdir("/proc/sys/fs/binfmt_misc") == before


def of_pasta(cais: Cais) -> list[str]:
    return [pid for pid in alive("/usr/bin/pasta") if str(cais.root) in Path(f"/proc/{pid}/cmdline").read_text()]


def fetched(url: str) -> str:
    return subprocess.run(["curl", "-s", "--max-time", "3", url], capture_output=True, text=True).stdout.strip()


def test_published_ports_and_names(cais: Cais, networked: Cais, conmon: None) -> None:
    user = networked
    user("network", "create", "back")
    first = user("run", "-d", "--name", "web", "-p", "28471:80", "box", "httpd", "-f", "-h", "/etc")[:12]
    words = ("--network", "back", "--network-alias", "store", "-p", "28472:80")
    second = user("run", "-d", "--name", "db", *words, "box", "httpd", "-f", "-h", "/etc")[:12]
    wait_until(lambda: fetched("http://127.0.0.1:28471/hostname") == first)
    wait_until(lambda: fetched("http://127.0.0.1:28472/hostname") == second)
    taken = user("run", "--rm", "-p", "28471:80", "box", "true", code=125)
    assert "already allocated" in taken and first in taken
    if os.path.exists("/usr/lib/podman/aardvark-dns"):
        address = user("inspect", "-f", "{{.NetworkSettings.Networks.back.IPAddress}}", "db").strip()
        assert address in "".join(user.sh("nslookup store", "--network", "back"))
    assert user("port", "web") == "80/tcp -> 0.0.0.0:28471\n" and len(of_pasta(user)) == 2
    user("exec", "web", "true")
    user("rm", "-f", "web", "db")
    wait_until(lambda: not of_pasta(user) and (user.root / "run" / ".holder").read_text() == "")
    user("network", "rm", "back")
    user.assert_nothing_left()


def test_no_pasta_outlives_a_killed_command(networked: Cais) -> None:
    started = networked.start("run", "--rm", "box", "sleep", "1000")
    wait_until(lambda: of_pasta(networked))
    wait_until(lambda: networked("ps", "-q"))
    started.kill()
    started.communicate()
    wait_until(lambda: not of_pasta(networked))


def test_without_a_tun_a_line_says_so(cais: Cais) -> None:
    if os.stat("/dev/net/tun").st_mode & 0o6 == 0o6:
        pytest.skip("every user may open /dev/net/tun here")
    said = cais.sh("ip -o link | wc -l", "--network", "bridge")
    assert "/dev/net/tun cannot be opened" in said[0] and "--network none" in said[0] and said[1:] == ["1"]
    assert cais.sh("ip -o link | wc -l", "--network", "none") == ["1"]
    assert "/dev/net/tun" in cais("run", "--rm", "-p", "28473:80", "box", "true", code=125)


def test_builds_by_a_registry(cais: Cais, as_root: Cais, open_registry: Any) -> None:
    """What root has pushed is a base, a cache comes and goes, and several targets are baked at once."""
    place = f"{open_registry.address}/ordinary-{os.urandom(4).hex()}"
    as_root.build(f"{place}:base", "FROM box\nRUN id -u > /who && chown 1000 /who\n", "--push")
    text = f"FROM {place}:base\nRUN cat /who > /copy && stat -c %u /who >> /copy\n"
    cais.build(f"{place}:own", text, "--push", "--cache-to", f"type=registry,ref={place}:cache,mode=max")
    bake = f"""
    target "default" {{
      name = "t${{n}}"
      matrix = {{ n = [1, 2] }}
      dockerfile-inline = "FROM {place}:own\\nRUN echo ${{n}} >> /copy"
      tags = ["{place}:t${{n}}"]
    }}
    """
    cais("buildx", "bake", "--push", "--progress", "plain", "-f", "-", stdin=bake.encode())
    assert cais.sh("cat /copy", image=f"{place}:t2") == ["0", "1000", "2"]
    cais.assert_nothing_left()


def test_what_is_pushed_comes_back_with_its_owners(
    cais: Cais, as_root: Cais, ordinary_account: Any, open_registry: Any
) -> None:
    cais.build("pushed", OWNERS)
    name = f"{open_registry.address}/owners-{os.urandom(4).hex()}:1"
    cais("tag", "pushed", name)
    pushed = cais("push", name).splitlines()[-1].split()[2]
    assert as_root("pull", name).splitlines()[-3] == f"Digest: {pushed}"
    cais("rmi", "-f", name, "pushed")
    # Pulled because it is not here, in the user's own namespace; its files are the subordinate ids'.
    said = cais.sh("stat -c '%u %a' /file /setuid", image=name)
    assert said[-2:] == ["1000 644", "0 4755"], said
    owners = {path.lstat().st_uid for path in cais.root.glob("snapshots/*/fs/file")}
    assert ordinary_account.first_subordinate_id + 999 in owners  # images of other tests have such a file, too
    cais("push", name)
    cais("rmi", name)
