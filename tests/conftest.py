"""What tests of several rooms share: a child process to change, an ordinary user to be."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from registry_process import RegistryProcess, registry_process
from registry_servers import Server, docker_registry

TEST_USER = "cais-test"


class OrdinaryUser(NamedTuple):
    """A user with a range of subordinate ids and a directory of its own."""

    name: str
    user_id: int
    group_id: int
    first_subordinate_id: int
    directory: Path

    def become(self) -> None:
        """Gives up root in this process, for good. What is imported later must be readable by the user."""
        import ctypes
        import encodings.ascii  # noqa: F401
        import pwd  # noqa: F401
        import struct  # noqa: F401

        from cais.host import files, syscalls  # noqa: F401
        from cais.spec.digest import Digest

        syscalls.load()
        Digest.of(b"")  # the interpreter's own modules, too
        os.setgroups([])
        os.setgid(self.group_id)
        os.setuid(self.user_id)
        # A process that changed its ids is not dumpable, and then its /proc files belong to root.
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)


def pytest_configure(config: pytest.Config) -> None:
    """Started in the background, a process ignores interrupts, and so would all that the tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


# What takes long goes first: where several processes share the tests by files, all of them are busy to the end.
_FIRST = ("faults", "integration", "corpus", "docs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(_FIRST)}
    top = Path(__file__).parent
    items.sort(key=lambda item: place.get(item.path.relative_to(top).parts[0], len(place)))
    if not os.environ.get("CAIS_LONG_TESTS"):
        for item in items:
            if item.get_closest_marker("long"):
                item.add_marker(pytest.mark.skip(reason="takes long: set CAIS_LONG_TESTS=1"))


@pytest.fixture(autouse=True)
def _own_namespace() -> Iterator[None]:
    """A test that enters private namespaces does so in a child or a thread: all tests after it would be inside, too."""
    before = os.readlink("/proc/self/ns/mnt")
    yield
    if os.readlink("/proc/self/ns/mnt") != before:
        raise AssertionError("this test has put the process of all tests into a private mount namespace")


@pytest.fixture(scope="session", autouse=True)
def _no_network_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What interrupted tests have left of networks on this host goes with the run, and is named."""
    yield
    import host_networks

    for line in host_networks.take_away(tmp_path_factory.getbasetemp()):
        warnings.warn(f"left by a test, and taken away: {line}", stacklevel=1)


@pytest.fixture
def in_child() -> Callable[[Callable[[], object]], str]:
    """Runs an action in a fork; returns the text of what it returned. What it raised fails the test."""

    def run(action: Callable[[], object]) -> str:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.close(read)
                os.write(write, str(action()).encode())
                code = 0
            except BaseException:
                import traceback

                os.write(write, traceback.format_exc().encode())
            finally:
                os._exit(code)
        os.close(write)
        said = b""
        while piece := os.read(read, 65536):
            said += piece
        os.close(read)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, said.decode()
        return said.decode()

    return run


@pytest.fixture(scope="session")
def ordinary_account() -> OrdinaryUser:
    """Whom ``ordinary_user`` is, with the user's home for a directory."""
    if os.geteuid() != 0 or not shutil.which("useradd") or not shutil.which("newuidmap"):
        pytest.skip("needs root, useradd and newuidmap (package uidmap)")
    try:
        entry = pwd.getpwnam(TEST_USER)
    except KeyError:
        subprocess.run(["useradd", "--create-home", TEST_USER], check=True)
        entry = pwd.getpwnam(TEST_USER)
    first = 0
    for line in Path("/etc/subuid").read_text().splitlines():
        if line.startswith(TEST_USER + ":"):
            first = int(line.split(":")[1])
    if not first:
        pytest.skip(f"{TEST_USER} has no range in /etc/subuid")
    return OrdinaryUser(TEST_USER, entry.pw_uid, entry.pw_gid, first, Path(entry.pw_dir))


@pytest.fixture
def ordinary_user(ordinary_account: OrdinaryUser) -> Any:
    directory = Path(tempfile.mkdtemp(prefix="cais-user-", dir="/var/tmp"))
    os.chown(directory, ordinary_account.user_id, ordinary_account.group_id)
    yield ordinary_account._replace(directory=directory)
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def busybox_tar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root file system of busybox and its links, a user and a group, as a plain tar that every user may read."""
    program = shutil.which("busybox")
    if program is None:
        pytest.skip("needs busybox (package busybox-static)")
    root = tmp_path_factory.mktemp("busybox")
    root.chmod(0o755)
    (root / "bin").mkdir()
    shutil.copy(program, root / "bin" / "busybox")
    for applet in subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if applet != "busybox":
            (root / "bin" / applet).symlink_to("busybox")
    (root / "etc").mkdir()
    (root / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\nada:x:1000:\nwheel:x:10:root,ada\n")
    (root / "tmp").mkdir(mode=0o1777)
    (root / "data").mkdir()
    (root / "data" / "seed").write_text("from the image\n")
    # Not below the directory of pytest, which each run of it closes to other users.
    place = Path(tempfile.mkdtemp(prefix="cais-busybox-", dir="/var/tmp"))
    place.chmod(0o755)
    archive = place / "busybox.tar"
    command = ["tar", "-C", str(root), "--owner=0", "--group=0", "--numeric-owner", "-cf", str(archive), "."]
    subprocess.run(command, check=True)
    archive.chmod(0o644)
    yield archive
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Any]:
    """A private PostgreSQL (``postgres_server.PostgresServer``); a test takes a database of its own of it."""
    import postgres_server
    import private_server

    if not postgres_server.programs():
        pytest.skip("needs PostgreSQL's server (package postgresql)")
    server = private_server.started(postgres_server.PostgresServer)
    yield server
    server.close()


@pytest.fixture(scope="session")
def swift() -> Iterator[Any]:
    """A private S3 server (``swift_server.SwiftServer``); a test takes a bucket of its own of it."""
    import private_server
    import swift_server

    if lacking := swift_server.lacking():
        pytest.skip(lacking)
    server = private_server.started(swift_server.SwiftServer)
    yield server
    server.close()


@pytest.fixture(scope="session")
def open_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Debian's docker-registry, for everybody."""
    with docker_registry(tmp_path_factory.mktemp("open-registry")) as server:
        yield server


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Debian's docker-registry, for one user (``registry_servers.USER``), by Basic authentication."""
    with docker_registry(tmp_path_factory.mktemp("private-registry"), private=True) as server:
        yield server


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A registry of Cais in a process of its own, in which everybody may do everything. Tests share it: each uses
    repositories of its own. ``registry_process`` starts others."""
    with registry_process(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="session")
def cais_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Our own registry (``registry_process.RegistryProcess``), for everybody."""
    pytest.importorskip("uvicorn", reason="needs the extra cais[registry]")
    import registry_process

    with registry_process.registry_process(tmp_path_factory.mktemp("cais-registry"), "--workers", "1") as server:
        yield server
