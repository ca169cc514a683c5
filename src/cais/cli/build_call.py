"""``image build --check`` and ``--call``: what is shown of a Dockerfile that is not built, in Docker's forms."""

from __future__ import annotations

import sys

from cais.cli.declare import BadValue
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cais.engine import Engine
    from cais.engine.build_checks import CheckReport, Finding
    from cais.engine.build_options import BuildOptions

METHODS = ("build", "check", "outline", "targets")


def call_method(text: str) -> tuple[str, str]:
    """``check,format=json`` as a method and a format ("" is text). Raises BadValue."""
    method, *options = text.split(",")
    method = {"": "build", "lint": "check"}.get(method, method)
    if method not in METHODS:
        raise BadValue(f"unknown call method {method!r}: it is one of {', '.join(METHODS)}")
    format = ""
    for option in options:
        key, equals, value = option.partition("=")
        if key != "format" or not equals:
            raise BadValue(f"unknown option {option!r}: it is format=text or format=json")
        if value not in ("text", "json"):
            raise BadValue(f"unknown format {value!r}: it is text or json")
        format = value.removeprefix("text")
    return method, format


class Called(NamedTuple):
    """What a method found: as ``document`` and as ``text``; ``code`` is the exit code, ``error`` goes to stderr."""

    document: dict[str, Any]
    text: str
    code: int = 0
    error: str = ""


def run_call(engine: Engine, options: BuildOptions, method: str, format: str, metadata_file: str = "") -> int:
    """Prints what ``method`` finds. Returns the exit code; raises CaisError."""
    called = look(engine, options, method)
    if metadata_file:
        from cais.cli.build_metadata import RESULT_KEY, write

        write(metadata_file, {RESULT_KEY: called.document})
    if format == "json":
        _print_json(called.document)
    else:
        sys.stdout.write(called.text)
    if called.error:
        sys.stdout.flush()
        sys.stderr.write(("\n" if called.text and format != "json" else "") + called.error)
    return called.code


def look(engine: Engine, options: BuildOptions, method: str) -> Called:
    """Raises CaisError."""
    if method == "check":
        return _check(engine.builder.check_report(options))
    if method == "outline":
        return _outline(*engine.builder.outline(options))
    return _targets(*engine.builder.targets(options))


def _check(report: CheckReport) -> Called:
    document = {
        "warnings": [_warning(finding) for finding in report.findings],
        "sources": [{"filename": report.dockerfile_name, "data": _base64(report.source), "language": "Dockerfile"}],
        **({"buildError": _build_error(report)} if report.error is not None else {}),
    }
    text = error = ""
    if report.findings:
        count = len(report.findings)
        found = "1 warning has" if count == 1 else f"{count} warnings have"
        text = f"Check complete, {found} been found!\n"
    elif report.error is None:
        text = "Check complete, no warnings found.\n"
    for finding in report.findings:
        page = f" - {finding.page}" if finding.page else ""
        text += f"\nWARNING: {finding.rule}{page}\n{_printable(finding.message)}\n"
        text += report.marked_lines(finding.first_line, finding.last_line)
    if report.error is not None:
        error = f"ERROR: {report.error.message}\n{report.error.lines}"
        error += f"{report.error.hint}\n" if report.error.hint else ""
    return Called(document, text, 1 if report.findings or report.error is not None else 0, error)


def _outline(outline: Any, source: bytes) -> Called:
    described = _filled(
        name=outline.name,
        description=outline.description,
        args=[
            _filled(name=item.name, description=item.description, value=item.value, location=_location(item.span))
            for item in outline.arguments
        ],
        secrets=[_mount(item) for item in outline.secrets],
        ssh=[_mount(item) for item in outline.ssh],
    )
    head = [["TARGET: ", outline.name or "(default)"]]
    if outline.description:
        head.append(["DESCRIPTION: ", outline.description])
    width = max(len(name) for name, _ in head)
    tables = ["".join(f"{name:<{width}}{_printable(value)}\n" for name, value in head)]
    if not outline.name and not outline.description:
        tables = []
    arguments = [[item.name, item.value, item.description] for item in outline.arguments]
    for header, rows in (
        (["BUILD ARG", "VALUE", "DESCRIPTION"], arguments),
        (["SECRET", "REQUIRED"], [[item.name, "true" if item.required else ""] for item in outline.secrets]),
        (["SSH", "REQUIRED"], [[item.name, "true" if item.required else ""] for item in outline.ssh]),
    ):
        if rows:
            tables.append(_aligned([header, *([_printable(cell) for cell in row] for row in rows)]))
    return Called({**described, "sources": [_base64(source)]}, "\n".join(tables))


def _targets(targets: Sequence[Any], source: bytes) -> Called:
    listed = [
        _filled(
            name=target.name, default=target.default, description=target.description, base=target.base,
            platform=target.platform, location=_location(target.span),
        )
        for target in targets
    ]  # fmt: skip
    rows = [["TARGET", "DESCRIPTION"]]
    for target in targets:
        name = " ".join(filter(None, (target.name, "(default)" if target.default else "")))
        rows.append([name, _printable(target.description)])
    width = max(len(row[0]) for row in rows) + 1
    text = "".join(f"{name:<{width}}{description}".rstrip() + "\n" for name, description in rows)
    return Called({"targets": listed, "sources": [_base64(source)]}, text)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Three blanks between columns, as BuildKit has it; the last one is as it is."""
    widths = [max(map(len, column)) + 3 for column in zip(*rows, strict=True)]
    widths[-1] = 0
    return "".join("".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) + "\n" for row in rows)


def _warning(finding: Finding) -> dict[str, Any]:
    return _filled(
        ruleName=finding.rule, description=finding.description, url=finding.page, detail=finding.message,
        location=_location((finding.first_line, finding.last_line)),
    )  # fmt: skip


def _build_error(report: CheckReport) -> dict[str, Any]:
    assert report.error is not None
    span = report.error.span
    return {"message": report.error.message, "location": _location(span) if span is not None else {}}


def _mount(item: Any) -> dict[str, Any]:
    return _filled(name=item.name, required=item.required, location=_location(item.span))


def _location(span: tuple[int, int]) -> dict[str, Any]:
    """As BuildKit's documents have it; the columns, which are not known, are left out."""
    return {"ranges": [{"start": {"line": span[0]}, "end": {"line": span[1]}}]}


def _filled(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def _base64(source: bytes) -> str:
    import base64

    return base64.b64encode(source).decode()


def _print_json(document: Any) -> None:
    import json

    sys.stdout.write(json.dumps(document, indent=2) + "\n")


def _printable(text: str) -> str:
    """A Dockerfile does not get to steer the terminal."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)
