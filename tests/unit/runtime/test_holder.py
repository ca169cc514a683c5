"""What an ordinary user's containers share: seen by processes that come and go."""

from __future__ import annotations

import os
import signal

import pytest

from cais.host import namespaces, process_files
from cais.runtime.holder import Holder

pytestmark = pytest.mark.root


def in_other_process(action):
    """A fork in which ``action`` was done: its pid, its user namespace, and where to write a byte to end it."""
    said, say = os.pipe()
    go, stay = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(stay)
            os.close(said)
            holder = action()
            os.write(say, os.readlink("/proc/self/ns/user").encode())
            os.close(say)
            os.read(go, 1)
            holder.leave()
        finally:
            os._exit(0)
    os.close(go)
    os.close(say)
    with open(said) as pipe:
        text = pipe.read()
    return child, text, stay


def entered(directory, beside=""):
    holder = Holder(str(directory))
    holder.enter(beside)
    return holder


def with_bundle(directory):
    """As ``entered``, by a process that a container belongs to."""
    holder = entered(directory)
    (directory / "x").mkdir()
    process_files.note(str(directory / "x" / "owner"), os.getpid())
    return holder


@pytest.fixture
def as_user(ordinary_user, in_child):
    def run(action):
        def become_and_act():
            import fcntl  # noqa: F401

            ordinary_user.become()
            return action(ordinary_user.directory / "run")

        return in_child(become_and_act)

    return run


def test_commands_share_a_user_namespace_and_the_last_ends_it(as_user):
    def action(directory):
        one, first, stop_one = in_other_process(lambda: entered(directory))
        process = Holder(str(directory)).process()
        other, second, stop_other = in_other_process(lambda: entered(directory))
        assert first == second != os.readlink("/proc/self/ns/user")
        os.write(stop_one, b".")
        os.waitpid(one, 0)
        assert Holder(str(directory)).process() == process
        os.write(stop_other, b".")
        os.waitpid(other, 0)
        return Holder(str(directory)).process()

    assert as_user(action) == "None"


def test_a_killed_holder_is_started_again_where_a_container_runs(as_user):
    def action(directory):
        one, first, stop_one = in_other_process(lambda: with_bundle(directory))
        killed = Holder(str(directory)).process()
        os.kill(killed.pid, signal.SIGKILL)
        while Holder(str(directory)).process() is not None:
            pass  # it is dead some time later
        other, second, stop_other = in_other_process(lambda: entered(directory))
        process = Holder(str(directory)).process()
        assert process not in (None, killed) and first == second
        beside = in_other_process(lambda: entered(directory, "x"))
        assert beside[1] == first
        for child, stop in ((other, stop_other), (beside[0], beside[2]), (one, stop_one)):
            os.write(stop, b".")
            os.waitpid(child, 0)
        return True

    assert as_user(action) == "True"


def test_a_holder_is_killed_while_others_enter(as_user):
    """Whenever that is: nobody is in a user namespace of its own."""

    def action(directory):
        first, space, stop = in_other_process(lambda: with_bundle(directory))
        for _ in range(20):
            child = os.fork()
            if child == 0:
                try:
                    entered(directory).leave()
                    os._exit(os.readlink("/proc/self/ns/user") != space)
                finally:
                    os._exit(2)
            kills = 0
            while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0):
                killed = Holder(str(directory)).process() if kills < 5 else None
                if killed is not None:
                    os.kill(killed.pid, signal.SIGKILL)
                    kills += 1
            assert os.waitstatus_to_exitcode(ended[1]) == 0
        os.write(stop, b".")
        os.waitpid(first, 0)
        return True

    assert as_user(action) == "True"


def test_many_at_once_start_one(as_user):
    def action(directory):
        running = []
        for _ in range(8):
            child = os.fork()
            if child == 0:
                try:
                    entered(directory).leave()
                finally:
                    os._exit(0)
            running.append(child)
        for child in running:
            os.waitpid(child, 0)
        return Holder(str(directory)).process()

    assert as_user(action) == "None"


def test_root_needs_none(tmp_path, in_child):
    def action():
        holder = Holder(str(tmp_path / "run"))
        holder.enter()
        holder.leave()
        return holder.process(), namespaces.in_user_namespace()

    assert in_child(action) == "(None, False)"
    assert not (tmp_path / "run").exists()
