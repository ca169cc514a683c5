"""Processes: reached whatever user namespace they are in."""

from __future__ import annotations

import os
import signal

import pytest

from cais.host import namespaces, processes


@pytest.mark.root
def test_a_signal_reaches_another_id_in_another_namespace_of_the_same_user(ordinary_user, in_child):
    """Two commands of an ordinary user have each a user namespace, and their containers ids in it."""
    read, write = os.pipe()
    target = os.fork()
    if target == 0:
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # whatever the process of all tests has for it
            ordinary_user.become()
            namespaces.enter()
            os.setresuid(1000, 1000, 1000)
            os.write(write, b"+")
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    assert os.read(read, 1) == b"+"
    os.close(read)
    started = processes.start_ticks(target)

    def action():
        ordinary_user.become()
        namespaces.enter()
        return processes.send_signal(target, signal.SIGTERM, started)

    try:
        assert in_child(action) == "True"
    finally:
        os.kill(target, signal.SIGKILL)
        status = os.waitpid(target, 0)[1]
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


@pytest.mark.root
def test_a_process_of_another_user_is_refused(ordinary_user, in_child):
    target = os.fork()
    if target == 0:
        signal.pause()
        os._exit(1)
    try:

        def action():
            ordinary_user.become()
            namespaces.enter()
            with pytest.raises(PermissionError):
                processes.send_signal(target, signal.SIGTERM)

        in_child(action)
    finally:
        os.kill(target, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(target, 0)[1]) == -signal.SIGKILL


def test_who_has_died_is_ending():
    assert not processes.is_ending(processes.ProcessName(os.getpid(), processes.start_ticks(os.getpid()) or 0))
    assert processes.is_ending(processes.ProcessName(os.getpid(), 1))  # another one had this number
    child = os.posix_spawn("/bin/true", ["true"], {})
    name = processes.ProcessName(child, processes.start_ticks(child) or 0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert processes.is_ending(name)
    processes.wait(child)
    assert processes.is_ending(name)
