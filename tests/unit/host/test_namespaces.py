"""The namespaces of a command: seen from inside, in a child process of each test."""

from __future__ import annotations

import os

import pytest

from cais.host import namespaces


@pytest.mark.root
def test_mounts_stay_in_the_namespace(tmp_path, in_child):
    def action():
        namespaces.enter()
        from cais.host import syscalls

        syscalls.mount("tmpfs", str(tmp_path), "tmpfs")
        return os.path.ismount(tmp_path)

    assert in_child(action) == "True"
    assert not os.path.ismount(tmp_path)


@pytest.mark.root
def test_entering_twice_is_entering_once(in_child):
    def action():
        first = namespaces.enter()
        before = os.readlink("/proc/self/ns/mnt")
        assert namespaces.enter() is first
        return before == os.readlink("/proc/self/ns/mnt")

    assert in_child(action) == "True"


@pytest.mark.root
def test_an_ordinary_user_is_root_among_its_subordinate_ids(ordinary_user, in_child):
    def action():
        ordinary_user.become()
        state = namespaces.enter()
        path = ordinary_user.directory / "file"
        path.write_text("x")
        os.chown(path, 12, 34)
        return state.user_namespace, state.id_count, state.warning, os.geteuid(), os.stat(path).st_uid

    assert in_child(action) == str((True, 65537, "", 0, 12))
    assert os.stat(ordinary_user.directory / "file").st_uid == ordinary_user.first_subordinate_id + 11


@pytest.mark.root
def test_without_ranges_there_is_one_id_and_a_warning(ordinary_user, in_child):
    def action():
        ordinary_user._replace(user_id=54321, group_id=54321).become()
        state = namespaces.enter()
        assert "/etc/subuid" in state.warning, state
        return state.id_count, os.geteuid()

    assert in_child(action) == "(1, 0)"


def test_ranges_are_read_by_name_and_by_number(tmp_path):
    path = tmp_path / "subuid"
    path.write_text("ada:100000:65536\nbob:1:2\n1000:300000:10\nada:x:5\nada:7\n:1:1\nada:5:0\n")
    assert namespaces.subordinate_ranges(str(path), "ada", 1000) == [(100000, 65536), (300000, 10)]
    assert namespaces.subordinate_ranges(str(path), "", 5) == []
    assert namespaces.subordinate_ranges(str(tmp_path / "none"), "ada", 1000) == []


def test_several_ranges_follow_each_other():
    arguments = namespaces.map_arguments(1000, [(100000, 10), (300000, 5)])
    assert arguments == ["0", "1000", "1", "1", "100000", "10", "11", "300000", "5"]


def test_a_thread_that_has_just_ended_does_not_stand_in_the_way(ordinary_user, in_child):
    """Joined, it may still be ending in the kernel, which refuses a process of several threads."""

    def action():
        import threading

        ordinary_user.become()
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()
        return namespaces.enter().user_namespace

    for _ in range(20):
        assert in_child(action) == "True"
