"""JSON documents on standard output: what ``inspect``, ``info`` and ``version`` print, as it is or by ``--format``."""

from __future__ import annotations

from cais.cli.declare import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

# Docker's client's exit code for a template that it cannot parse.
BAD_TEMPLATE = 64


def formatted(document: Any, format: str, *, name: str = "") -> str:
    """One document by ``format`` (``json`` or a Go template). Raises UsageError: ``template parsing error: ...``."""
    from cais.cli.template import Template, TemplateError
    from cais.cli.template_functions import to_json

    if format == "json":
        return to_json(document)
    try:
        template = Template(format, name)
    except TemplateError as error:
        raise UsageError(f"template parsing error: {error}", BAD_TEMPLATE, usage=False)
    try:
        return template.run(document)
    except TemplateError as error:
        raise UsageError(f"template parsing error: {error}", 1, usage=False)


def inspect(names: Sequence[str], find: Callable[[str], Any], format: str) -> int:
    """Print what ``find`` gives for each of ``names``: an array with four spaces, or a line each by ``format``.

    What is not found is told at the end and does not keep the rest from being shown. Returns the exit code.
    """
    from cais.cli.call import error_text, warn
    from cais.cli.others import put
    from cais.cli.template_functions import to_json
    from cais.errors import NotFound

    found, problems = [], []
    for name in names:
        try:
            found.append(find(name))
        except NotFound as error:
            problems.append(error)
    if format and format != "json":
        lines: list[str] = []
        try:
            lines.extend(formatted(document, format) for document in found)
        finally:
            put("".join(f"{line}\n" for line in lines) or ("\n" if problems else ""))
    elif format == "json":
        put(to_json(found) + "\n")
    else:
        import json

        put(json.dumps(found, indent=4, ensure_ascii=False) + "\n")
    for problem in problems:
        warn(error_text(problem))
    return 1 if problems else 0
