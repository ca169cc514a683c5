"""Scopes of Docker's token protocol."""

from __future__ import annotations

import pytest

from cais.catalog import scopes
from cais.catalog.scopes import Scope
from cais.errors import Invalid


@pytest.mark.parametrize(
    ("text", "scope"),
    [
        ("repository:team/app:pull,push", Scope("repository", "team/app", ("pull", "push"))),
        ("registry:catalog:*", Scope("registry", "catalog", ("*",))),
        ("repository:host:5000/app:pull", Scope("repository", "host:5000/app", ("pull",))),
        ("repository(plugin):app:pull", Scope("repository", "app", ("pull",))),
        ("repository:app:pull,pull,", Scope("repository", "app", ("pull",))),
        ("repository:app:", Scope("repository", "app", ())),
    ],
)
def test_one_scope(text: str, scope: Scope) -> None:
    assert Scope.parse(text) == scope


def test_several_parameters_and_several_in_one_are_joined_by_what_they_are_for() -> None:
    found = scopes.parse(["repository:a:pull repository:b:pull", "repository:a:push,pull", "registry:catalog:*"])
    assert scopes.format(found) == "repository:a:pull,push repository:b:pull registry:catalog:*"
    assert scopes.parse(["", "  "]) == ()


@pytest.mark.parametrize(
    "text",
    ["repository", "repository:", "repository:a", "repository::pull", ":a:pull", "repository:a\x00:pull", "a:" * 400],
)
def test_what_is_no_scope(text: str) -> None:
    with pytest.raises(Invalid, match="invalid scope"):
        scopes.parse([text])


def test_not_any_number_of_them() -> None:
    with pytest.raises(Invalid, match="more than 64"):
        scopes.parse([" ".join(f"repository:r{number}:pull" for number in range(65))])
