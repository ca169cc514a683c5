"""Logs: what was written comes back, in conmon's format, from any end."""

from __future__ import annotations

import fcntl
import gzip
import os
import random
import time

import pytest

from cais.container import log_files, log_large, logs
from cais.container.logs import timestamp


class LogWriter:
    """Writes as conmon does; keeps to ``max_bytes`` and ``files``."""

    def __init__(self, path: str, max_bytes: int = 0, files: int = 1) -> None:
        self.path, self.max_bytes, self.files = path, max_bytes, files

    def write(self, stream: bytes, data: bytes) -> None:
        stamp = timestamp(time.time_ns()).encode()
        with open(self.path, "ab") as file:
            for line in data.splitlines(keepends=True):
                kind = b"F" if line.endswith(b"\n") else b"P"
                file.write(b"%b %b %b %b\n" % (stamp, stream, kind, line.removesuffix(b"\n")))
        if self.max_bytes and os.path.getsize(self.path) >= self.max_bytes:
            names = [self.path, *(f"{self.path}.{number}" for number in range(1, self.files))]
            for older, newer in reversed(list(zip(names[1:], names, strict=False))):
                if os.path.exists(newer):
                    os.replace(newer, older)


@pytest.fixture
def log(tmp_path):
    return str(tmp_path / "log"), LogWriter(str(tmp_path / "log"))


def texts(path, **options):
    return [line.text for line in logs.lines(path, **options)]


def test_lines_and_parts(log):
    path, writer = log
    writer.write(b"stdout", b"one\ntwo\n\nthr")
    writer.write(b"stderr", b"error\n")
    writer.write(b"stdout", b"ee\n\xff\xfe\n")
    found = list(logs.lines(path))
    assert [line.text for line in found] == [b"one\n", b"two\n", b"\n", b"thr", b"error\n", b"ee\n", b"\xff\xfe\n"]
    assert [line.stream for line in found][3:5] == ["stdout", "stderr"]
    assert b"".join(line.text for line in found if line.stream == "stdout") == b"one\ntwo\n\nthree\n\xff\xfe\n"


@pytest.mark.parametrize("count", [0, 1, 2, 3, 999, 3000, 10_000])
def test_tail(log, count):
    path, writer = log
    lines = [b"line %d %s\n" % (number, b"y" * (number % 90)) for number in range(3000)]
    for line in lines:
        writer.write(b"stdout", line)
    assert texts(path, tail=count) == lines[len(lines) - min(count, len(lines)) :]


def test_since_and_until(tmp_path):
    path = tmp_path / "log"
    path.write_text(
        "2026-01-01T00:00:00.000000001Z stdout F a\n"
        "2026-01-01T01:00:00.000000002+01:00 stdout F b\n"
        "2026-01-01T00:00:00.000000003Z stdout F c\n"
        "nonsense\n"
    )
    assert texts(str(path)) == [b"a\n", b"b\n", b"c\n"]
    assert texts(str(path), since="2026-01-01T00:00:00.000000002Z") == [b"b\n", b"c\n"]
    assert texts(str(path), until="2026-01-01T00:00:00.000000002Z") == [b"a\n", b"b\n"]


def test_follow_reads_what_comes_with_the_end(log):
    path, writer = log
    writer.write(b"stdout", b"first\n")
    calls = []

    def still_runs():
        calls.append(None)
        writer.write(b"stdout", b"more %d\n" % len(calls))
        return len(calls) < 2

    assert texts(path, follow=still_runs) == [b"first\n", b"more 1\n", b"more 2\n"]


KINDS = (b"stdout F", b"stdout P", b"stderr F", b"stderr P")


def random_log(chosen: random.Random) -> tuple[bytes, dict[str, bytes]]:
    """Times of both lengths, both streams, parts, and lines that are none; and what was written to each stream."""
    stamp, kind, raw, wanted = b"2026-11-23T14:08:07.000000000Z", KINDS[0], b"", {"stdout": b"", "stderr": b""}
    for _ in range(chosen.randrange(300)):
        if chosen.random() < 0.3:
            stamp = b"2026-11-23T14:08:07.%09d" % chosen.randrange(10**9) + chosen.choice([b"Z", b"+00:00"])
        if chosen.random() < 0.1:
            kind = chosen.choice(KINDS)
        if chosen.random() < 0.02:
            raw += chosen.choice([b"garbage", b"", b"  ", b"x" * 50]) + b"\n"
        text = bytes(chosen.choices(b"ab \x00\xff stdout F", k=chosen.choice([0, 1, 5, 100, 3000])))
        raw += b"%b %b %b\n" % (stamp, kind, text)
        wanted[kind[:6].decode()] += text + (b"\n" if kind.endswith(b"F") else b"")
    return raw, wanted


def test_texts_are_what_was_written(tmp_path):
    path = tmp_path / "log"
    for seed in range(60):
        raw, wanted = random_log(random.Random(seed))
        path.write_bytes(raw)
        found = {"stdout": b"", "stderr": b""}
        for stream, text in logs.texts(str(path)):
            found[stream] += text
        assert found == wanted, seed


def test_streams_of_one_line_each_stay_in_order(tmp_path):
    path = tmp_path / "log"
    lines = [(("stdout", "stderr")[number % 3 > 0], b"%d\n" % number) for number in range(3000)]
    stamp = "2026-11-23T14:08:07.000000000Z"
    path.write_bytes(b"".join(f"{stamp} {stream} F ".encode() + text for stream, text in lines))
    assert b"".join(text for _, text in logs.texts(str(path))) == b"".join(text for _, text in lines)
    assert [line.stream for line in logs.lines(str(path))] == [stream for stream, _ in lines]
    runs = [stream for stream, _ in logs.texts(str(path))]
    assert len(runs) < len(lines) and set(runs) == {"stdout", "stderr"}


def written_by_turns(path: str, count: int, turn_bytes: int) -> dict[str, bytes]:
    """What several processes write of a log, each stream to a file."""
    outputs = {stream: os.memfd_create(stream) for stream in ("stdout", "stderr")}
    files = log_files.opened(path)
    try:
        log_large.by_turns(files[0], outputs, count, turn_bytes)
        return {stream: os.pread(output, 1 << 24, 0) for stream, output in outputs.items()}
    finally:
        log_files.close(files)
        for output in outputs.values():
            os.close(output)


def test_several_processes_write_the_same(tmp_path):
    """Wherever a turn begins: at a line, within one, within one that is longer than several turns."""
    path = tmp_path / "log"
    before = len(os.listdir("/proc/self/fd"))
    for seed in range(12):
        chosen = random.Random(seed)
        raw, wanted = random_log(chosen)
        path.write_bytes(raw + b"2026-11-23T14:08:07.000000000Z stdout F not yet whole")
        turn_bytes = chosen.choice([300, 1000, 4096, max(len(raw) // 2, 1), len(raw) + 1])
        assert written_by_turns(str(path), chosen.choice([2, 3, 4]), turn_bytes) == wanted, seed
    assert len(os.listdir("/proc/self/fd")) == before


def test_every_place_where_a_turn_may_begin(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"".join(b"2026-11-23T14:08:07.000000000Z stdout F %s\n" % (b"x" * size) for size in range(4)))
    wanted = written_by_turns(str(path), 1, 1 << 20)
    assert wanted["stdout"] == b"\nx\nxx\nxxx\n"
    for turn_bytes in range(41, 90):
        assert written_by_turns(str(path), 1, turn_bytes) == wanted, turn_bytes


def test_whoever_cannot_write_says_why(tmp_path):
    line = b"2026-11-23T14:08:07.000000000Z stdout F text\n"
    path = tmp_path / "log"
    path.write_bytes(line * 1000)
    files = log_files.opened(str(path))
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    try:
        with pytest.raises(BlockingIOError):  # the first turn fits, the second one, of another process, does not
            log_large.by_turns(files[0], {"stdout": writing}, 2, len(line) * 600)
        assert os.read(reading, 1 << 16) == b"text\n" * 600
        os.close(reading)
        for count in (1, 2, 3):
            with pytest.raises(BrokenPipeError):
                log_large.by_turns(files[0], {"stdout": writing}, count, 1000)
    finally:
        os.close(writing)
        log_files.close(files)


def test_older_and_compressed_files_are_one_log(tmp_path):
    """A line may begin in one file and end in the next."""
    whole = b"".join(b"2026-01-01T00:00:00.000000001Z stdout F line %d\n" % number for number in range(1000))
    (tmp_path / "log.2.gz").write_bytes(gzip.compress(whole[:20_007]))
    (tmp_path / "log.1").write_bytes(whole[20_007:40_001])
    (tmp_path / "log").write_bytes(whole[40_001:])
    wanted = [b"line %d\n" % number for number in range(1000)]
    path = str(tmp_path / "log")
    assert texts(path) == wanted
    for count in (0, 1, 99, 500, 700, 999, 1000, 5000):
        assert texts(path, tail=count) == wanted[len(wanted) - min(count, 1000) :], count


def test_followed_over_new_files(tmp_path):
    path = str(tmp_path / "log")
    writer = LogWriter(path, 1000, 4)
    calls = []

    def still_runs():
        calls.append(None)
        for number in range(30):
            writer.write(b"stdout", b"%d-%d\n" % (len(calls), number))
        return len(calls) < 20

    found = texts(path, follow=still_runs)
    assert found == [b"%d-%d\n" % (call, number) for call in range(1, 21) for number in range(30)]


def test_follow_ends_when_the_log_is_removed(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"2026-01-01T00:00:00.000000001Z stdout F a\n")
    turns = iter((True, True, False))

    def still_runs():
        path.unlink(missing_ok=True)
        return next(turns)

    assert texts(str(path), follow=still_runs) == [b"a\n"]


def test_no_log_is_empty(tmp_path):
    assert texts(str(tmp_path / "none")) == []


def test_stamps_sort_as_text():
    assert timestamp(1) == "1970-01-01T00:00:00.000000001Z"
    assert logs.normalised("2026-01-01T02:00:00.5+02:00") == "2026-01-01T00:00:00.500000000Z"
