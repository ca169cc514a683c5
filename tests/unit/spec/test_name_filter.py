"""Filters by name."""

from __future__ import annotations

import pytest

from cais.spec.name_filter import matches


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [("web", True), ("eb", True), ("^web", True), ("^/web_1$", True), ("1$", True), ("web.+1", True), ("^eb", False),
     ("WEB", False), ("web[", False), ("", True)],
)  # fmt: skip
def test_names_are_searched_for_an_expression(pattern: str, fits: bool) -> None:
    assert matches(pattern, "web_1", "/web_1") == fits
