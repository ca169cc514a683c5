"""Columns are aligned as by Go's tabwriter in Docker's client, and --format means what it means there."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from cais.cli.declare import UsageError
from cais.cli.table import aligned, show


class Thing(NamedTuple):
    name: str
    size: int


FIELDS = {"Name": lambda thing: thing.name, "Size": lambda thing: f"{thing.size}B"}
HEADERS = {"Name": "NAME", "Size": "SIZE"}
THINGS = [Thing("a", 1), Thing("a-much-longer-name", 22)]


def shown(capsys: pytest.CaptureFixture[str], things: list[Thing] = THINGS, **options: Any) -> str:
    show(things, FIELDS, HEADERS, ("Name", "Size"), kind="thing", **options)
    return capsys.readouterr().out


def test_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == (
        "NAME                 SIZE\na                    1B\na-much-longer-name   22B\n"
    )  # fmt: skip
    assert shown(capsys, []) == "NAME      SIZE\n"


def test_a_column_is_at_least_ten_wide() -> None:
    assert aligned([["A", "B"], ["1", "2"]]) == "A         B\n1         2\n"
    assert aligned([["A", "B", ""], ["é", "2", ""]]) == "A         B         \né         2         \n"


def test_formats(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, format="{{.Name}}:{{.Size}}") == "a:1B\na-much-longer-name:22B\n"
    assert shown(capsys, format="json") == '{"Name":"a","Size":"1B"}\n{"Name":"a-much-longer-name","Size":"22B"}\n'
    assert shown(capsys, format="table {{.Size}}\\t{{.Name}}") == (
        "SIZE      NAME\n1B        a\n22B       a-much-longer-name\n"
    )
    assert shown(capsys, format="table {{.Name | upper}}").splitlines()[0] == "NAME"
    assert shown(capsys, [], format="table {{.Name}}") == "NAME\n"
    assert shown(capsys, [], format="{{.Name}}") == ""


def test_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, quiet="Name") == "a\na-much-longer-name\n"
    assert shown(capsys, quiet="Name", format="{{.Size}}") == "1B\n22B\n"


@pytest.mark.parametrize("format", ["{{.Nope}}", "{{.Name", "{{nope}}", "table {{.Nope}}"])
def test_bad_templates_show_nothing(capsys: pytest.CaptureFixture[str], format: str) -> None:
    with pytest.raises(UsageError, match=r"^template parsing error: template: :1"):
        shown(capsys, format=format)
    assert capsys.readouterr().out == ""
