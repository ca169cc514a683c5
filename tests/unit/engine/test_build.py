"""Builds as a whole: what runs, in which order, what fails, what the cache answers and why, and what stays."""

from __future__ import annotations

import io
import os
import re
import shutil
import socket
import threading
import time

import pytest

from cais.build.ops.run import StepFailed
from cais.engine import Engine, Settings
from cais.engine.build_prune import PruneOptions
from cais.errors import Failed, Invalid, NotFound, Unavailable
from cais.image.layers import LayerSource

pytestmark = pytest.mark.root


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class TestOrder:
    def test_independent_stages_run_side_by_side(self, based):
        """Each waits for the other's word: one after the other they would never end."""
        step = "RUN --mount=type=cache,target=/words : > /words/{0}; n=0; until [ -e /words/{1} ]; do"
        step += " sleep 0.01; n=$((n+1)); [ $n -lt 2000 ] || exit 9; done; echo {0} > /said\n"
        found = based.files(
            "FROM base AS one\n"
            + step.format("one", "two")
            + "FROM base AS two\n"
            + step.format("two", "one")
            + "FROM scratch\nCOPY --from=one /said /by-one\nCOPY --from=two /said /by-two\n",
            workers=2,
        )
        assert found == {"by-one": "one\n", "by-two": "two\n"}

    def test_stages_that_the_target_does_not_need_are_not_built(self, based):
        found = based.files(
            "FROM base AS unused\nRUN exit 7\nCOPY nowhere /\n"
            "FROM base AS used\nRUN echo used > /file\n"
            "FROM unused AS later\nRUN exit 8\n"
            "FROM scratch AS target\nCOPY --from=used /file /file\n"
            "FROM later\nRUN exit 9\n",
            target="target",
        )
        assert found == {"file": "used\n"}
        assert based.ran == ["RUN echo used > /file", "COPY --from=used /file /file"]

    def test_a_diamond_of_ten_stages(self, based):
        text = "FROM base AS root\nRUN echo root > /log\n"
        for number in range(8):
            text += f"FROM root AS s{number}\nRUN echo {number} >> /log && mv /log /log{number}\n"
        text += "FROM scratch\n" + "".join(f"COPY --from=s{n} /log{n} /\n" for n in range(8))
        assert based.files(text, workers=4) == {f"log{n}": f"root\n{n}\n" for n in range(8)}
        assert len(based.ran) == len(set(based.ran)) == 17

    def test_diamonds_in_a_row_are_looked_at_once(self, based):
        """Twenty of them have a million ways through."""
        text = "FROM base AS s0\nRUN echo 0 > /f0\n"
        for number in range(1, 21):
            text += (
                f"FROM s{number - 1} AS a{number}\nFROM s{number - 1} AS b{number}\n"
                f"FROM a{number} AS s{number}\nCOPY --from=b{number} /f{number - 1} /f{number}\n"
            )
        assert based.files(text + "FROM scratch\nCOPY --from=s20 /f20 /\n") == {"f20": "0\n"}
        assert len(based.ran) == 22

    def test_stages_that_wait_do_not_wait_for_each_other(self, based):
        """Each of a dozen, more than the machine has processors, ends when all have begun."""
        count, port = 12, free_port()
        stages = "".join(f"FROM base AS s{n}\nRUN echo {n} | nc 127.0.0.1 {port} > /log{n}\n" for n in range(count))
        copies = "".join(f"COPY --from=s{n} /log{n} /\n" for n in range(count))
        with socket.create_server(("127.0.0.1", port), backlog=count) as server:
            server.settimeout(60)

            def answer():
                callers = [server.accept()[0] for _ in range(count)]
                for caller in callers:
                    with caller:
                        caller.sendall(b"all are here\n")

            answering = threading.Thread(target=answer)
            answering.start()
            files = based.files(stages + "FROM scratch\n" + copies)
            answering.join()
        assert files == {f"log{n}": "all are here\n" for n in range(count)}

    @pytest.mark.parametrize("workers", [2, 8])
    def test_the_same_image_whatever_ends_first(self, based, tmp_path, workers):
        text = (
            "".join(
                f"FROM base AS s{n}\nCOPY file{n} /\nRUN cat /file{n} > /made{n}; touch -d @{1000 + n} /made{n} /\n"
                for n in range(4)
            )
            + "FROM base\n"
            + "".join(f"COPY --from=s{n} /made{n} /\n" for n in (2, 0, 3, 1))
        )
        based.write({f"file{n}": f"{n}" for n in range(4)})
        for number in range(4):
            os.utime(based.context / f"file{number}", (2000, 2000))
        epoch = 1_500_000_000
        one = based.build(text, workers=1, epoch=epoch)
        many = based.build(workers=workers, no_cache=True, epoch=epoch)
        assert len(based.ran) == 12
        assert (many.image_id, many.digest) == (one.image_id, one.digest)


class TestFailure:
    def test_the_command_is_quoted(self, based):
        message = r'process "/bin/sh -c sh -c \"exit\t4\"" did not complete successfully: exit code: 4'
        with pytest.raises(StepFailed, match="^" + re.escape(message) + "$"):
            based.build('FROM base\nRUN sh -c "exit\t4"\n')

    def test_the_failing_step_is_named_with_its_output_and_its_lines(self, based):
        with pytest.raises(StepFailed) as error:
            based.build("FROM base\nRUN echo out; \\\n    echo err >&2; \\\n    exit 3\n")
        assert error.value.code == 3
        assert error.value.output.split(b"\n") in ([b"out", b"err"], [b"err", b"out"])
        assert error.value.message == (
            'process "/bin/sh -c echo out;     echo err >&2;     exit 3" did not complete successfully: exit code: 3'
        )
        assert error.value.span == (2, 4)
        marked = [line for line in str(error.value.lines).splitlines() if ">>>" in line]
        assert [line.split(">>>")[1].strip() for line in marked] == [
            "RUN echo out; \\",
            "echo err >&2; \\",
            "exit 3",
        ]
        assert based.leftovers() == []

    def test_only_the_last_lines_of_its_output(self, based):
        with pytest.raises(StepFailed) as error:
            based.build("FROM base\nRUN seq 100000; exit 1\n")
        assert error.value.output.split(b"\n") == [str(n).encode() for n in range(100000 - 19, 100001)]

    def test_the_first_failure_stops_the_others_and_is_the_one_that_is_reported(self, based):
        port = free_port()
        started = time.monotonic()
        with pytest.raises(StepFailed) as error:
            based.build(
                f"FROM base AS slow\nRUN nc -l -p {port}; sleep 300; touch /slow\n"
                f"FROM base AS wrong\nRUN until echo x | nc 127.0.0.1 {port}; do :; done; exit 5\n"
                "FROM scratch\nCOPY --from=slow /slow /\nCOPY --from=wrong /wrong /\n",
                workers=2,
            )
        assert error.value.code == 5 and error.value.span == (4, 4)
        assert time.monotonic() - started < 60
        assert based.of_kind("error") == [f"RUN until echo x | nc 127.0.0.1 {port}; do :; done; exit 5"]
        assert based.leftovers() == []
        assert based.count("build_records") == 0

    def test_what_was_done_before_it_is_a_hit_afterwards(self, based):
        with pytest.raises(StepFailed):
            based.build("FROM base\nRUN echo one > /one\nRUN exit 1\n")
        based.build("FROM base\nRUN echo one > /one\nRUN exit 0\n")
        assert based.cached == ["RUN echo one > /one"] and based.ran == ["RUN exit 0"]

    def test_a_program_that_is_not_there(self, based):
        with pytest.raises(Failed, match=r'process "/no/such" did not start') as error:
            based.build('FROM base\nRUN ["/no/such"]\n')
        assert error.value.span == (2, 2) and ">>> RUN" in str(error.value.lines)
        assert based.leftovers() == []

    def test_a_file_that_is_not_there(self, based):
        with pytest.raises(NotFound, match='"/none": not found') as error:
            based.build("FROM base\nRUN exit 1\nCOPY none /\n")
        assert ">>> COPY none /" in str(error.value.lines)
        assert based.count("build_records") == 0

    def test_a_file_that_a_stage_has_not(self, based):
        with pytest.raises(NotFound, match='"/none": not found') as error:
            based.build("FROM base AS one\nRUN true\nFROM base\nCOPY --from=one /none /\n")
        assert ">>> COPY --from=one" in str(error.value.lines)
        assert based.leftovers() == []

    def test_a_base_that_is_not_there(self, work):
        # Nobody listens there; that a registry does not have it is in test_build_registries.py.
        message = "failed to resolve source metadata for 127.0.0.1:1/nothing:latest"
        with pytest.raises(Unavailable, match=message) as error:
            work.build("# a base\nFROM 127.0.0.1:1/nothing\n")
        assert ">>> FROM 127.0.0.1:1/nothing" in str(error.value.lines)

    def test_a_dockerfile_that_is_none(self, work):
        with pytest.raises(Invalid) as error:
            work.build("FROM scratch\nNONSENSE\n")
        assert ">>> NONSENSE" in str(error.value.lines)

    def test_what_shows_the_progress_may_fail(self, based):
        """Its error ends the build, although it came from the thread that reads the output; nothing hangs."""

        def progress(event):
            if event["event"] == "output":
                raise BrokenPipeError("gone")

        given = based.options("FROM base\nRUN yes | head -c 10000000\n")
        with pytest.raises(Failed, match="gone"):
            in_thread(lambda: based.engine.builder.build(given, progress))
        assert based.leftovers() == []


def in_thread(action):
    """In a thread of its own, which has the mounts; what it raises, or a failure where it hangs."""
    raised = []

    def run():
        try:
            action()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "it hangs"
    if raised:
        raise raised[0]


def test_an_interrupt_kills_the_steps_and_leaves_nothing(based, in_child, tmp_path):
    import signal

    based.engine.close()

    def interrupted() -> str:
        with Engine(Settings(based.stores.root)) as engine:
            based.engine, based.stores = engine, engine._stores
            signal.signal(signal.SIGINT, signal.default_int_handler)

            def progress(event):
                if event["event"] == "output":
                    os.kill(os.getpid(), signal.SIGINT)

            given = based.options(
                "FROM base AS one\nRUN echo started; exec sleep 987654\n"
                "FROM base AS two\nRUN exec sleep 987655\n"
                "FROM scratch\nCOPY --from=one / /\nCOPY --from=two / /\n",
                workers=2,
            )
            with pytest.raises(KeyboardInterrupt):
                engine.builder.build(given, progress)
            assert [row.status for row in engine.builder.list()] == ["cancelled"]
            return str(based.leftovers())

    assert in_child(interrupted) == "[]"
    running = [
        name
        for name in os.listdir("/proc")
        if name.isdigit() and b"98765" in _command_line(name) and b"sleep" in _command_line(name)
    ]
    assert running == []


def _command_line(pid: str) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read()
    except OSError:
        return b""


class TestCache:
    DOCKERFILE = "FROM base\nCOPY file /file\nRUN cat /file > /copy\nWORKDIR /w\nCOPY directory .\n"

    @pytest.fixture
    def built(self, based):
        based.write({"file": "one", "directory/a": "a", "directory/b": "b"})
        based.build(self.DOCKERFILE)
        assert len(based.ran) == 4
        return based

    def test_nothing_changed(self, built):
        first = built.engine.builder.list()[0].image
        assert built.build().image_id == first
        assert built.ran == [] and len(built.cached) == 4

    def test_only_a_time_changed(self, built):
        os.utime(built.context / "file", (1, 1))
        os.utime(built.context / "directory" / "a", (1, 1))
        built.build()
        assert built.ran == []

    def test_the_file_is_written_again_with_the_same_content(self, built):
        built.write({"file": "one"})
        built.build()
        assert built.ran == []

    def test_the_context_is_somewhere_else(self, built, tmp_path):
        shutil.copytree(built.context, tmp_path / "elsewhere", symlinks=True)
        built.build(context=str(tmp_path / "elsewhere"))
        assert built.ran == []

    def test_a_file_changed(self, built):
        built.write({"directory/b": "other"})
        built.build()
        assert built.ran == ["COPY directory ."]
        assert built.reasons["COPY directory ."].startswith('the file "directory/b": content ')

    def test_a_file_came_and_one_went(self, built):
        (built.context / "directory" / "a").unlink()
        built.write({"directory/c": "c"})
        built.build()
        assert built.reasons == {"COPY directory .": 'the file "directory/a": removed; the file "directory/c": added'}

    def test_a_mode_changed(self, built):
        (built.context / "file").chmod(0o755)
        built.build()
        assert built.reasons["COPY file /file"] == 'the file "file": mode 0644 → 0755'
        assert built.reasons["RUN cat /file > /copy"].startswith(
            "the step before gave another result (COPY file /file): "
        )

    def test_a_command_changed(self, built):
        built.build(self.DOCKERFILE.replace("/copy", "/kopie"))
        assert built.reasons["RUN cat /file > /kopie"] == (
            "the command: /bin/sh -c cat /file > /copy → /bin/sh -c cat /file > /kopie"
        )
        assert built.cached == ["COPY file /file"]

    def test_back_again_is_a_hit(self, built):
        built.write({"file": "two"})
        built.build()
        assert len(built.ran) == 4
        built.write({"file": "one"})
        built.build()
        assert built.ran == []
        built.write({"file": "two!"})
        built.build()
        old = "content 7692c3ad3540"  # of "one", which was there the last time
        assert built.reasons["COPY file /file"].startswith(f'the file "file": {old} → ')

    def test_no_cache_builds_all_and_is_a_hit_afterwards(self, built):
        built.build(no_cache=True)
        assert len(built.ran) == 4 and built.cached == []
        assert set(built.reasons.values()) == {"the cache is not used (--no-cache)"}
        built.build()
        assert built.ran == []

    def test_the_base_changed(self, built, busybox_tar):
        with open(busybox_tar, "rb") as file:
            built.engine.images.import_(file, "base", changes=["CMD other"])
        built.build()
        assert built.ran == [], "only its configuration is another"
        built.build("FROM base\nRUN echo new > /etc/base\n", tags=["base"])
        built.build(self.DOCKERFILE)
        assert built.reasons["COPY file /file"].startswith("the base image docker.io/library/base")
        assert " → " in built.reasons["COPY file /file"]

    def test_another_dockerfile_s_steps_are_hits_without_a_history(self, built):
        built.write({"other.Dockerfile": self.DOCKERFILE + "RUN echo more > /more\n"})
        other = str(built.context / "other.Dockerfile")
        built.events = []
        in_thread(lambda: built.engine.builder.build(built.options()._replace(dockerfile=other), built.events.append))
        assert built.reasons == {"RUN echo more > /more": "this step was not built before"}

    def test_after_a_prune_all_is_built_again(self, built):
        built.engine.images.remove(built.engine.builder.list()[0].image)
        assert built.engine.builder.prune(PruneOptions(all=True)).reclaimed_bytes > 0
        assert built.leftovers() == [] and built.count("build_listings") == 0
        built.build()
        assert len(built.ran) == 4
        for text in built.reasons.values():
            assert "removed by cais builder prune on 20" in text


class TestArguments:
    def test_the_value_of_one_that_is_used(self, based):
        text = "FROM base\nARG WHO=a\nRUN echo $WHO > /who\n"
        based.build(text, build_args={"WHO": "first"})
        based.build(build_args={"WHO": "second"})
        assert list(based.reasons.values()) == ["the variable WHO: first → second"]
        based.build(build_args={"WHO": "first"})
        assert based.ran == []

    def test_one_that_comes_only_later(self, based):
        text = "FROM base\nRUN echo early > /early\nARG WHO\nRUN echo $WHO > /who\n"
        based.build(text, build_args={"WHO": "first"})
        based.build(build_args={"WHO": "second"})
        assert len(based.ran) == 1 and len(based.cached) == 1

    def test_one_that_nothing_declares(self, based):
        text = "FROM base\nRUN echo early > /early\n"
        based.build(text)
        based.build(build_args={"UNUSED": "x"})
        assert based.ran == []

    def test_a_variable_that_came(self, based):
        based.build("FROM base\nRUN env > /env\n")
        based.build("FROM base\nENV NEW=1\nRUN env > /env\n")
        assert based.reasons == {"RUN env > /env": "the variable NEW: (not set) → 1"}

    def test_the_user_and_the_directory(self, based):
        based.build("FROM base\nUSER root\nRUN id\n")
        based.build("FROM base\nUSER ada\nRUN id\n")
        assert based.reasons == {"RUN id": "the user: root → ada"}

    def test_a_here_document(self, based):
        based.build("FROM base\nCOPY <<END /file\none\nEND\nRUN <<END\necho one > /ran\nEND\n")
        based.build("FROM base\nCOPY <<END /file\none\nEND\nRUN <<END\necho two > /ran\nEND\n")
        assert len(based.ran) == 1
        (reason,) = based.reasons.values()
        assert "echo one" in reason and "echo two" in reason
        based.build("FROM base\nCOPY <<END /file\ntwo\nEND\nRUN <<END\necho two > /ran\nEND\n")
        assert "the here-document" in next(iter(based.reasons.values()))

    def test_a_script_in_a_here_document(self, based):
        based.build("FROM base\nRUN <<END\n#!/bin/sh\necho one > /ran\nEND\n")
        based.build("FROM base\nRUN <<END\n#!/bin/sh\necho two > /ran\nEND\n")
        (reason,) = based.reasons.values()
        assert "here-document" in reason

    def test_the_epoch(self, based):
        based.write({"file": "x"})
        based.build("FROM base\nCOPY file /\n", epoch=1_000_000_000)
        based.build(epoch=1_000_000_001)
        assert based.reasons == {"COPY file /": "SOURCE_DATE_EPOCH: 1000000000 → 1000000001"}


class TestStages:
    DOCKERFILE = (
        "FROM base AS make\nCOPY input /input\nRUN mkdir /out && sort /input > /out/sorted && touch -d @1000 /out/*\n"
        "FROM base\nCOPY --from=make /out /out\nRUN cat /out/sorted > /last\n"
    )

    def test_a_copy_of_what_came_out_the_same_is_a_hit(self, based):
        based.write({"input": "b\na\n"})
        based.build(self.DOCKERFILE)
        based.write({"input": "a\nb\n"})
        based.build()
        assert based.ran == ["COPY input /input", _run(self.DOCKERFILE)]
        assert based.cached == ["COPY --from=make /out /out", "RUN cat /out/sorted > /last"]
        based.build()
        assert based.ran == []
        assert {step.state for step in based.plan()} == {"hit"}

    def test_a_copy_of_what_came_out_otherwise_is_not(self, based):
        based.write({"input": "b\na\n"})
        based.build(self.DOCKERFILE)
        based.write({"input": "c\n"})
        found = based.files()
        assert found["last"] == "c\n"
        assert based.reasons["COPY --from=make /out /out"].startswith('the file "out/sorted": content ')

    def test_a_mode_in_a_stage_counts(self, based):
        based.build("FROM base AS make\nRUN echo x > /x\nFROM scratch\nCOPY --from=make /x /x\n")
        based.build("FROM base AS make\nRUN echo x > /x; chmod 600 /x\nFROM scratch\nCOPY --from=make /x /x\n")
        assert len(based.ran) == 2


def _run(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("RUN"))


class TestChangingContext:
    def test_what_changes_while_it_is_copied_is_copied_again_the_next_time(self, based):
        based.write({"file": "one", "other": "other"})
        text = "FROM base\nCOPY file other /\nRUN cat /file > /seen\n"
        given = based.options(text)
        events = []

        def progress(event):
            events.append(event)
            if event["event"] == "miss" and len(events) < 5:
                based.write({"file": "changed"})

        in_thread(lambda: based.engine.builder.build(given, progress))
        notes = [event["data"] for event in events if event["event"] == "output"]
        assert notes == [b'changed while it was copied, so the next build copies it again: "file"\n']
        based.write({"file": "one"})
        assert based.files()["seen"] == "one\n".strip()
        assert based.ran[0] == "COPY file other /"
        based.build()
        assert based.ran == []


class TestEpoch:
    def test_nothing_is_newer_and_the_image_is_of_that_time(self, based):
        based.write({"file": "x"})
        result = based.build(
            "FROM base\nCOPY file /\nRUN echo now > /now; touch -d @5 /old\nWORKDIR /w\n", epoch=1_000_000_000
        )
        image = based.engine.images.inspect(result.image_id)
        assert image["Created"] == "2001-09-09T01:46:40Z"
        rows = based.stores.database.rows("SELECT parts FROM build_records")
        assert all('"epoch":1000000000' in row[0] for row in rows)
        import tarfile

        times = {}
        for layer in based.engine.images.get(result.image_id).manifest.layers:
            data = b"".join(LayerSource(based.stores.content, based.stores.snapshots).fetch(layer))
            with tarfile.open(fileobj=io.BytesIO(data)) as opened:
                times.update({member.name: member.mtime for member in opened})
        assert times["old"] == 5
        assert times["file"] == times["now"] == times["w"] == 1_000_000_000

    def test_the_same_on_another_day(self, based):
        based.write({"file": "x"})
        os.utime(based.context / "file", (1_400_000_000, 1_400_000_000))
        text = "FROM base\nCOPY file /d/\nWORKDIR /w/x\nCOPY <<END /inline\nx\nEND\n"
        first = based.build(text)
        again = based.build(no_cache=True)
        assert len(based.ran) == 3 and first.digest == again.digest


class TestPlan:
    def test_it_runs_and_keeps_nothing(self, based):
        based.write({"file": "x"})
        steps = based.plan("FROM base\nCOPY file /\nRUN touch /x\n")
        assert [(step.line, step.state) for step in steps] == [(1, "hit"), (2, "miss"), (3, "pending")]
        assert based.count("build_records") == based.count("builds") == 0
        assert based.leftovers() == [] and based.engine.builder.list() == []

    def test_it_says_what_the_build_does(self, based):
        based.write({"file": "x", "other": "y"})
        text = "FROM base\nARG A=1\nCOPY file /\nRUN echo $A > /a\nCOPY other /\n"
        based.build(text)
        based.write({"other": "z"})
        planned = {step.name.partition("] ")[2]: step for step in based.plan()}
        based.build()
        assert [name for name, step in planned.items() if step.state == "miss"] == based.ran == ["COPY other /"]
        assert planned["COPY other /"].reasons == (based.reasons["COPY other /"],)
        planned = {step.name.partition("] ")[2]: step for step in based.plan(build_args={"A": "2"})}
        based.build(build_args={"A": "2"})
        assert planned[based.ran[0]].reasons == ("the variable A: 1 → 2",)
        assert [planned[name].state for name in based.ran] == ["miss", "pending"]

    def test_errors_mark_the_lines(self, based):
        with pytest.raises(NotFound) as error:
            based.plan("FROM base\nCOPY none /\n")
        assert ">>> COPY none /" in str(error.value.lines)
        assert based.leftovers() == []
