"""Finding a runtime and control groups without starting anything."""

from __future__ import annotations

import errno
import os

import pytest

from cais.errors import Invalid, Unavailable
from cais.host import processes
from cais.runtime import find


def test_a_wanted_runtime_must_be_there(tmp_path):
    with pytest.raises(Unavailable, match="nosuch"):
        find.find_runtime("nosuch")
    other = tmp_path / "other"
    other.write_text("")
    other.chmod(0o755)
    with pytest.raises(Invalid, match="neither crun nor runc"):
        find.find_runtime(str(other))
    mine = tmp_path / "my-crun"
    mine.write_text("")
    mine.chmod(0o755)
    assert find.find_runtime(str(mine)) == ("crun", str(mine))


def test_none_installed_names_the_package(monkeypatch):
    monkeypatch.setattr(processes, "_DIRECTORIES", ())
    with pytest.raises(Unavailable) as error:
        find.find_runtime()
    assert "apt-get install crun" in error.value.hint


def test_cgroups_are_what_the_kernel_says():
    found = find.cgroups()
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    assert (found.mode == "unified") == unified
    assert found.controllers == frozenset() or found.writable


@pytest.mark.root
def test_a_hybrid_host_becomes_legacy_by_hiding_and_only_here(in_child):
    if find.cgroups().mode != "hybrid":
        pytest.skip("this host is not hybrid")

    def action():
        from cais.host import namespaces

        namespaces.enter()
        find.hide_unified()
        return find.cgroups().mode

    assert in_child(action) == "legacy"
    assert find.cgroups().mode == "hybrid"


@pytest.mark.root
def test_crun_is_on_a_read_only_mount_and_starts_once(in_child, tmp_path):
    program = find.find_program("crun")
    if not program:
        pytest.skip("needs crun")
    os.mkfifo(tmp_path / "config.json")

    def action():
        from cais.host import namespaces

        namespaces.enter()
        for _ in range(2):
            find.mount_read_only(program)
        try:
            os.close(os.open(program, os.O_WRONLY))
            refused = 0
        except OSError as error:
            refused = error.errno
        null = os.open("/dev/null", os.O_RDWR)
        command = [program, "--root", str(tmp_path / "state"), "create", "--bundle", str(tmp_path), "one"]
        child = os.posix_spawn(program, command, {}, file_actions=[(os.POSIX_SPAWN_DUP2, null, n) for n in (1, 2)])
        # Opened when crun has opened it, too: it has done by then what it does to itself.
        config = os.open(tmp_path / "config.json", os.O_WRONLY)
        itself = os.readlink(f"/proc/{child}/exe")
        protected = os.statvfs(itself).f_flag & os.ST_RDONLY
        os.close(config)
        os.waitpid(child, 0)
        return f"{errno.errorcode.get(refused)} {itself} {protected}"

    before = os.statvfs(program).f_flag
    refused, itself, protected = in_child(action).split()
    # A crun that runs anywhere on the host is busy, which the kernel looks at first.
    assert refused in ("EROFS", "ETXTBSY")
    assert (itself, int(protected)) == (os.path.realpath(program), os.ST_RDONLY)
    assert os.statvfs(program).f_flag == before
