"""Which step of a kept build is meant, and what its shell is."""

from __future__ import annotations

import pytest

from cais.engine.build_debug import find, shell_of
from cais.errors import Invalid, NotFound

STEPS = [
    {"id": 1, "stage": "builder", "number": 1, "lines": (1, 1), "title": "[builder 1/2] FROM a"},
    {"id": 2, "stage": "builder", "number": 2, "lines": (3, 6), "title": "[builder 2/2] RUN b"},
    {"id": 3, "stage": "linux/arm64 last", "number": 1, "lines": (8, 8), "title": "[linux/arm64 last 1/1] RUN c"},
    {"id": 4, "stage": "linux/amd64 last", "number": 1, "lines": (8, 8), "title": "[linux/amd64 last 1/1] RUN c"},
]


@pytest.mark.parametrize(
    ("text", "id"),
    [("2", 2), ("#2", 2), ("builder/2", 2), (":3", 2), (":5", 2), (":6", 2), ("linux/arm64 last/1", 3), (":1", 1)],
)
def test_which_step(text, id):
    assert find(STEPS, text)["id"] == id


@pytest.mark.parametrize(
    ("text", "kind"),
    [("7", NotFound), (":7", NotFound), ("x/1", NotFound), ("builder/3", NotFound), (":8", Invalid), ("", Invalid),
     ("builder", Invalid), (":", Invalid), ("-1", Invalid), ("builder/", Invalid)],
)  # fmt: skip
def test_none_or_several(text, kind):
    with pytest.raises(kind) as error:
        find(STEPS, text)
    assert error.value.hint


def test_without_a_name_it_is_the_one_that_failed():
    assert find([*STEPS, {"id": 5, "state": "failed"}], "")["id"] == 5
    with pytest.raises(Invalid, match="no step of the build failed"):
        find(STEPS, "")


def test_a_build_without_steps():
    with pytest.raises(NotFound, match="ended before the first"):
        find([], ":4")


def test_the_shell_of_a_step():
    assert shell_of(("/bin/bash", "-o", "pipefail", "-c", "make")) == "/bin/bash"
    assert shell_of(("/bin/sh", "-c", "make")) == "/bin/sh"
    assert shell_of(("make", "all")) == "/bin/sh"
    assert shell_of(()) == "/bin/sh"
