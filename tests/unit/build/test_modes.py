"""``--chmod``: the same as setmode of BSD; where that and GNU's chmod agree, as the real chmod."""

from __future__ import annotations

import itertools
import os
import stat
import subprocess
from pathlib import Path

import pytest

from cais.build.modes import parse
from cais.errors import Invalid

MODES = (0o000, 0o644, 0o755, 0o640, 0o4711, 0o2750, 0o1777, 0o124)


def test_octal_is_the_mode() -> None:
    assert [parse(text).of(0o4777) for text in ("0", "644", "0755", "7777", "00000644")] == [
        0, 0o644, 0o755, 0o7777, 0o644,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "before", "after"),
    [
        ("u+x", 0o644, 0o744),
        ("+x", 0o644, 0o755),
        ("+w", 0o444, 0o666),  # no umask
        ("go-w", 0o666, 0o644),
        ("u=rw,g=r,o=r", 0o777, 0o644),
        ("go=", 0o777, 0o700),
        ("a=rX", 0o755, 0o444),  # X counts with + only
        ("=rw,+X", 0o755, 0o777),
        ("=rw,+X", 0o644, 0o666),
        ("a+X", 0o644, 0o644),
        ("a+X", 0o744, 0o755),
        ("u=rwx,go=u-w", 0o000, 0o755),
        ("g=u", 0o640, 0o660),
        ("o+g", 0o640, 0o644),
        ("u+s", 0o755, 0o4755),
        ("g+s", 0o755, 0o2755),
        ("o+s", 0o755, 0o755),
        ("u+t", 0o755, 0o1755),
        ("+t", 0o755, 0o1755),
        ("a-s", 0o6755, 0o755),
        ("u=", 0o4755, 0o055),
        ("a=r", 0o6777, 0o444),
        ("a=r", 0o1777, 0o1444),
        ("u+r-w", 0o200, 0o400),
        ("u+x,u-x", 0o644, 0o644),
        ("-x,u+X", 0o755, 0o744),  # X asks what was there before
    ],
)  # fmt: skip
def test_symbolic(text: str, before: int, after: int) -> None:
    assert oct(parse(text).of(before)) == oct(after)


def test_x_of_directories() -> None:
    assert parse("a+X").of(0o600, directory=True) == 0o711
    assert parse("u+rw,g+r,o-x,o+w").of(0o125, directory=True) == 0o766
    assert parse("go-w").of(0o124, directory=True) == 0o104


@pytest.mark.parametrize(
    "text",
    [
        "64a",
        "10000",
        "-1",
        "0o644",
        " 644",
        "8",
        "",
        "u",
        "x",
        "u+q",
        "u+x,",
        ",u+x",
        "+755",
        "u+7",
        "go",
        "u*x",
        "é+x",
    ],
)
def test_what_is_no_mode(text: str) -> None:
    with pytest.raises(Invalid) as error:
        parse(text)
    assert error.value.message == (
        f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
    )


def test_as_the_real_chmod(tmp_path: Path) -> None:
    """Every combination where BSD's and GNU's rules are the same, on files."""
    file = tmp_path / "f"
    file.touch()
    clauses = [
        f"{who}{operator}{letters}"
        for who, operator, letters in itertools.product(
            ("u", "g", "o", "a", "ug", "go"), "+-=", ("r", "w", "x", "rw", "rwx", "")
        )
    ]
    clauses += [f"{who}{operator}{other}" for who, operator, other in itertools.product("ugo", "+-=", "ugo")]
    clauses += ["u+X", "a+X", "g+X,o-r", "u+s", "g+s", "u-s,g-s", "u=rw,g=r,o=", "a+rX,u+w,go-w"]
    for number, text in enumerate(clauses):
        mode = MODES[number % len(MODES)] & 0o777
        os.chmod(file, mode)
        subprocess.run(["chmod", "--", text, str(file)], check=True)
        expected = stat.S_IMODE(file.stat().st_mode)
        assert oct(parse(text).of(mode)) == oct(expected), (text, oct(mode))
