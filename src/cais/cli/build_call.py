"""``image build --check`` and ``--call``: what is shown of a Dockerfile that is not built, in Docker's forms."""

from __future__ import annotations

import sys

from cais.cli.declare import BadValue

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


def run_call(engine: Engine, options: BuildOptions, method: str, format: str) -> int:
    """Prints what ``method`` finds. Returns the exit code; raises CaisError."""
    if method == "check":
        return _check(engine.builder.check_report(options), format)
    if method == "outline":
        _outline(*engine.builder.outline(options), format)
    else:
        _targets(*engine.builder.targets(options), format)
    return 0


def _check(report: CheckReport, format: str) -> int:
    if format == "json":
        _print_json(
            {
                "warnings": [_warning(finding) for finding in report.findings],
                "sources": [
                    {"filename": report.dockerfile_name, "data": _base64(report.source), "language": "Dockerfile"}
                ],
                **({"buildError": _build_error(report)} if report.error is not None else {}),
            }
        )
    else:
        if report.findings:
            count = len(report.findings)
            found = "1 warning has" if count == 1 else f"{count} warnings have"
            sys.stdout.write(f"Check complete, {found} been found!\n")
        elif report.error is None:
            sys.stdout.write("Check complete, no warnings found.\n")
        for finding in report.findings:
            page = f" - {finding.page}" if finding.page else ""
            sys.stdout.write(f"\nWARNING: {finding.rule}{page}\n{_printable(finding.message)}\n")
            sys.stdout.write(report.marked_lines(finding.first_line, finding.last_line))
    if report.error is not None:
        sys.stdout.flush()
        separator = "\n" if report.findings and format != "json" else ""
        sys.stderr.write(f"{separator}ERROR: {report.error.message}\n{report.error.lines}")
        if report.error.hint:
            sys.stderr.write(f"{report.error.hint}\n")
    return 1 if report.findings or report.error is not None else 0


def _outline(outline: Any, source: bytes, format: str) -> None:
    if format == "json":
        document = {
            "name": outline.name,
            "description": outline.description,
            "args": [
                _filled(name=item.name, description=item.description, value=item.value, location=_location(item.span))
                for item in outline.arguments
            ],
            "secrets": [_mount(item) for item in outline.secrets],
            "ssh": [_mount(item) for item in outline.ssh],
        }
        _print_json({**_filled(**document), "sources": [_base64(source)]})
        return
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
    sys.stdout.write("\n".join(tables))


def _targets(targets: Sequence[Any], source: bytes, format: str) -> None:
    if format == "json":
        shown = [
            _filled(
                name=target.name, default=target.default, description=target.description, base=target.base,
                platform=target.platform, location=_location(target.span),
            )
            for target in targets
        ]  # fmt: skip
        _print_json({"targets": shown, "sources": [_base64(source)]})
        return
    rows = [["TARGET", "DESCRIPTION"]]
    for target in targets:
        name = " ".join(filter(None, (target.name, "(default)" if target.default else "")))
        rows.append([name, _printable(target.description)])
    width = max(len(row[0]) for row in rows) + 1
    sys.stdout.write("".join(f"{name:<{width}}{description}".rstrip() + "\n" for name, description in rows))


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
