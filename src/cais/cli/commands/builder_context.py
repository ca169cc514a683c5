"""``cais builder context``."""

from __future__ import annotations

from collections.abc import Iterator

from cais.cli.declare import Command, Flag
from cais.cli.values import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call
    from cais.engine.context_report import ContextReport

COMMAND = Command(
    "[OPTIONS] [PATH]",
    "Show what a build reads of its context, and what is ignored\n\nNothing is sent anywhere: of what lies in the "
    "context a build reads what COPY, ADD and\nmounts name, and no rule of .dockerignore leaves out.",
    arguments=(0, 1),
    complete="directory",
    flags=(
        Flag("build-arg", "", "list", "Set build-time variables", check=environment),
        Flag("file", "f", "string", 'Name of the Dockerfile (Default is "PATH/Dockerfile")', complete="file"),
        Flag("format", "", "string", 'Format output: "pretty", "json", or a Go template', "pretty",
             complete="pretty,json"),
        Flag("limit", "", "int", "Show so many files and directories at most", 10),
        Flag("target", "", "string", "Set the target build stage, whose reads are shown"),
    ),
    examples=(
        "cais builder context",
        "cais builder context --limit 50 -f docker/Dockerfile .",
        "cais builder context --format '{{.read.size_bytes}}' .",
    ),
)  # fmt: skip


def run(call: Call) -> int:
    import os
    import sys

    from cais.cli.documents import formatted
    from cais.engine.build_options import BuildOptions

    arguments = {}
    for text in call["build-arg"]:
        name, equals, value = text.partition("=")
        if equals or name in os.environ:
            arguments[name] = value if equals else os.environ[name]
    context = "".join(call.arguments) or "."
    options = BuildOptions(
        context=context,
        dockerfile=call["file"],
        build_args=arguments,
        target=call["target"],
        stdin=sys.stdin.buffer if sys.stdin else None,
        environment=os.environ,
    )
    report = call.engine.builder.context(options)
    if call["format"] == "pretty":
        sys.stdout.write("".join(_pretty(report, max(0, call["limit"]))))
    elif call["format"] == "json":
        import json

        sys.stdout.write(json.dumps(_document(report, max(0, call["limit"])), indent=2) + "\n")
    else:
        sys.stdout.write(formatted(_document(report, max(0, call["limit"])), call["format"]) + "\n")
    return 0


def _document(report: ContextReport, limit: int) -> dict[str, Any]:
    return {
        "path": report.path,
        "ignore_file": report.ignore_file,
        "offered": report.offered._asdict(),
        "ignored": report.ignored._asdict(),
        "read": report.read._asdict(),
        "readers": [{**reader._asdict(), "amount": reader.amount._asdict()} for reader in report.readers],
        "rules": [
            {**rule._asdict(), "amount": rule.amount._asdict()} for rule in (*report.rules, *report.unused_rules)
        ],
        "directories": [{"path": name, **amount._asdict()} for name, amount in report.directories[:limit]],
        "largest": [file._asdict() for file in report.largest[:limit]],
        "hints": list(report.hints),
    }


def _pretty(report: ContextReport, limit: int) -> Iterator[str]:
    from cais.cli.table import aligned
    from cais.cli.units import human_size

    def amount(value: Any) -> str:
        return f"{value.files:,} file{'' if value.files == 1 else 's'}, {human_size(value.size_bytes)}"

    by = f" by {report.ignore_file}" if report.ignore_file else ""
    yield f"Context:  {_clean(report.path)}\n"
    yield f"Read:     {amount(report.read)} by the Dockerfile\n"
    yield f"Offered:  {amount(report.offered)}\n"
    yield f"Ignored:  {amount(report.ignored)}{by}\n"
    if report.readers:
        rows = [["LINE", "FILES", "SIZE", "READ BY"]]
        for reader in report.readers:
            problem = f" ({_clean(reader.problem)})" if reader.problem else ""
            size = human_size(reader.amount.size_bytes)
            rows.append([str(reader.line), f"{reader.amount.files:,}", size, _clean(reader.text) + problem])
        yield "\n" + aligned(rows)
    if report.rules:
        rows = [["LINE", "FILES", "SIZE", "IGNORED BY"]]
        for rule in sorted(report.rules, key=lambda rule: -rule.amount.size_bytes):
            size = human_size(rule.amount.size_bytes)
            rows.append([str(rule.line), f"{rule.amount.files:,}", size, _clean(rule.rule)])
        yield "\n" + aligned(rows)
    if report.directories and limit:
        rows = [["FILES", "SIZE", "DIRECTORY"]]
        for name, value in report.directories[:limit]:
            rows.append([f"{value.files:,}", human_size(value.size_bytes), _clean(name) + "/" if name else "."])
        if len(report.directories) > limit:
            rows.append(["", "", f"... and {len(report.directories) - limit} more"])
        yield "\n" + aligned(rows)
    if report.largest and limit:
        rows = [["SIZE", "READ", "LARGEST FILES"]]
        for file in report.largest[:limit]:
            rows.append([human_size(file.size_bytes), "yes" if file.read else "no", _clean(file.path)])
        yield "\n" + aligned(rows)
    if report.hints:
        yield "\nHints:\n" + "".join(f"  {_clean(hint)}\n" for hint in report.hints)


def _clean(text: str) -> str:
    return text if text.isprintable() else ascii(text)[1:-1]
