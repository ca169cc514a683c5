"""Logs: what was written comes back, in conmon's format, from any end."""

from __future__ import annotations

import pytest

from cais.container import logs
from cais.container.logs import LogWriter


@pytest.fixture
def log(tmp_path):
    writer = LogWriter(str(tmp_path / "log"))
    yield str(tmp_path / "log"), writer
    writer.close()


def texts(path, **options):
    return [line.text for line in logs.read(path, **options)]


def test_lines_and_parts(log):
    path, writer = log
    writer.write(b"stdout", b"one\ntwo\n\nthr")
    writer.write(b"stderr", b"error\n")
    writer.write(b"stdout", b"ee\n\xff\xfe\n")
    found = list(logs.read(path))
    assert [line.text for line in found] == [b"one\n", b"two\n", b"\n", b"thr", b"error\n", b"ee\n", b"\xff\xfe\n"]
    assert [line.stream for line in found][3:5] == ["stdout", "stderr"]
    assert b"".join(line.text for line in found if line.stream == "stdout") == b"one\ntwo\n\nthree\n\xff\xfe\n"


def test_long_lines_are_cut_into_parts(log):
    path, writer = log
    writer.write(b"stdout", b"x" * 50_000 + b"\nend")
    assert b"".join(texts(path)) == b"x" * 50_000 + b"\nend"


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

    def still_runs(seconds):
        calls.append(seconds)
        writer.write(b"stdout", b"more %d\n" % len(calls))
        return len(calls) < 2

    assert texts(path, follow=still_runs) == [b"first\n", b"more 1\n", b"more 2\n"]


def test_no_log_is_empty(tmp_path):
    assert texts(str(tmp_path / "none")) == []


def test_stamps_sort_as_text():
    assert logs.timestamp(1) == "1970-01-01T00:00:00.000000001Z"
    assert logs.normalised("2026-01-01T02:00:00.5+02:00") == "2026-01-01T00:00:00.500000000Z"
