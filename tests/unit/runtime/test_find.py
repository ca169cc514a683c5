"""Finding a runtime and control groups without starting anything."""

from __future__ import annotations

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
