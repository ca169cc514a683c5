"""Lists of things: Docker's columns, ``--format`` (``table``, ``json``, Go templates), aligned as by Go's tabwriter."""

from __future__ import annotations

from cais.cli.declare import UsageError
from cais.cli.others import put

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    Field = Callable[[Any], Any]


class Row:
    """One thing of a list, as templates see it: each field is computed when it is asked for.

    ``fields`` gives for a name the function that computes it from ``item``; one whose name is in ``methods`` gives a
    function that takes the template's arguments.
    """

    __slots__ = ("fields", "item", "kind", "methods")

    def __init__(
        self, item: Any, fields: Mapping[str, Field], kind: str = "", methods: Mapping[str, Field] | None = None
    ) -> None:
        self.item, self.fields, self.kind, self.methods = item, fields, kind, methods or {}

    def as_json(self) -> dict[str, Any]:
        """All fields by name."""
        return {name: self.fields[name](self.item) for name in sorted(self.fields)}


def show(
    items: Iterable[Any], fields: Mapping[str, Field], headers: Mapping[str, str], columns: Sequence[str], *,
    kind: str, format: str = "", quiet: str = "", methods: Mapping[str, Field] | None = None,
) -> None:  # fmt: skip
    """Print ``items``.

    ``columns`` are the fields of the plain table and ``headers`` their titles; ``kind`` is the word of Go's type in
    error messages; ``quiet`` is the field that -q asks for ("" without it). Raises UsageError for a bad template.
    """
    if quiet and format in ("", "table"):
        compute = fields[quiet]
        put("".join(f"{compute(item)}\n" for item in items))
        return
    if format in ("", "table"):
        computes = [fields[name] for name in columns]
        rows = [[headers[name] for name in columns]]
        rows += [[str(compute(item)) for compute in computes] for item in items]
        put(aligned(rows))
        return
    from cais.cli.template import Template, TemplateError

    text, with_headers = format, False
    if format == "json":
        text = "{{json .}}"
    elif format.startswith("table"):
        text, with_headers = format[len("table") :].strip(), True
    text = text.replace("\\t", "\t").replace("\\n", "\n")
    try:
        template = Template(text)
    except TemplateError as error:
        raise UsageError(f"template parsing error: {error}", 1, usage=False)
    try:
        lines = [template.run(Row(item, fields, kind, methods)) for item in items]
        if with_headers:
            titles: dict[str, Any] = {name: headers.get(name, name) for name in fields}
            methods_titles = {name: _title_method(name) for name in methods or {}}
            head = template.run(
                Row(None, {name: _constant(title) for name, title in titles.items()}, kind, methods_titles)
            )
            lines.insert(0, head)
    except TemplateError as error:
        raise UsageError(f"template parsing error: {error}", 1, usage=False)
    if with_headers:
        put(aligned([part.split("\t") for line in lines for part in line.split("\n")]))
    else:
        put("".join(f"{line}\n" for line in lines))


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Cells in columns: at least 10 wide, three spaces between them, the last one as it is."""
    widths: list[int] = []
    for row in rows:
        for index, cell in enumerate(row[:-1]):
            if index == len(widths):
                widths.append(7)
            if len(cell) > widths[index]:
                widths[index] = len(cell)
    lines = []
    for row in rows:
        cells = [f"{cell:<{width + 3}}" for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("".join(cells) + row[-1] + "\n")
    return "".join(lines)


def _constant(value: Any) -> Field:
    return lambda item: value


def _title_method(name: str) -> Field:
    """``{{.Label "com.example.version"}}`` has the last part of its argument as title."""

    def method(item: Any) -> Any:
        return lambda *arguments: str(arguments[0]).rpartition(".")[2] if arguments else name

    return method
