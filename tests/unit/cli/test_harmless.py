"""What a step says, on a terminal."""

from __future__ import annotations

import pytest

from cais.cli.harmless import harmless


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain text\twith a tab", "plain text\twith a tab"),
        ("ünïcode", "ünïcode"),
        ("a\x1b[31mred\x1b[0m", "a\x1b[31mred\x1b[0m\x1b[0m"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link", "link"),
        ("\x1bP1;2q data\x1b\\x", "x"),
        ("\x1b[6nask", "ask"),
        ("\x1bcreset", "reset"),
        ("10%\r20%\r30%", "30%"),
        ("bell\x07 back\x08 del\x7f c1\x9b2J", "bell back del c12J"),
        ("cut \x1b[3", "cut 3"),
        ("cut \x1b]0;never ends", "cut "),
        ("\x1b", ""),
    ],
)
def test_only_colours_stay(line, shown):
    assert harmless(line) == shown
