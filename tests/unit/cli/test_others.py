"""What others wrote: quoted as by Go, and harmless on a terminal."""

from __future__ import annotations

import os
import pty

import pytest

from cais.cli.others import put, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sleep 60", '"sleep 60"'),
        ('say "hi" \\', '"say \\"hi\\" \\\\"'),
        ("a\tb\r\n", '"a\\tb\\r\\n"'),
        ("\x1b]0;t\x07\x7f\0", '"\\x1b]0;t\\a\\x7f\\x00"'),
        ("ü\u00a0\x9b\u2028\U000e0001", '"ü\\u00a0\\u009b\\u2028\\U000e0001"'),
        ("\udcff", '"\\xff"'),
    ],
)
def test_quoted(text, shown):
    assert quoted(text) == shown


def test_a_file_gets_all_and_a_terminal_what_is_harmless(tmp_path):
    text = "NAME\tü\n\x1b]0;t\x07web\x1b[2J\n\x1b[31mred\n"
    with open(tmp_path / "file", "w", encoding="utf-8") as file:
        put(text, file)
    assert (tmp_path / "file").read_text() == text
    here, there = pty.openpty()
    try:
        with open(there, "w", encoding="utf-8") as terminal:
            put(text, terminal)
            terminal.flush()
            assert os.read(here, 4096).decode() == "NAME\tü\r\nweb\r\n\x1b[31mred\x1b[0m\r\n"
    finally:
        os.close(here)
