"""``cais builder imagetools inspect``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME",
    "Show details of an image in the registry",
    arguments=(1, 1),
    flags=(
        Flag("format", "", "string", "Format the output using the given Go template"),
        Flag("raw", "", "", "Show original, unformatted JSON manifest"),
    ),
    examples=(
        "cais builder imagetools inspect debian:12",
        "cais builder imagetools inspect --raw debian:12",
        "cais builder imagetools inspect --format '{{json .Provenance}}' registry.example.com/app:1",
    ),
)


def run(call: Call) -> int:
    from cais.cli.declare import UsageError
    from cais.cli.others import put

    name, format = call.arguments[0], call["format"]
    if format and call["raw"]:
        raise UsageError("format and raw cannot be used together", 1, usage=False)
    tools = call.engine.imagetools
    if call["raw"]:
        put(tools.read(name).raw.decode("utf-8", "replace"))
    elif format:
        put(_formatted(tools.inspect(name), format) + "\n")
    else:
        put(_text(name, tools.read(name)))
    return 0


class _Fields(dict):  # type: ignore[type-arg]
    """An object whose keys a template may write as Go's fields are called: ``.MediaType`` for ``mediaType``."""

    def _key(self, name: object) -> Any:
        if dict.__contains__(self, name) or not isinstance(name, str):
            return name
        return next((key for key in self if key.lower() == name.lower()), name)

    def __contains__(self, name: object) -> bool:
        return dict.__contains__(self, self._key(name))

    def __getitem__(self, name: object) -> Any:
        return dict.__getitem__(self, self._key(name))


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return _Fields({key: _named(item) for key, item in value.items()})
    return [_named(item) for item in value] if isinstance(value, list) else value


def _formatted(found: dict[str, Any], format: str) -> str:
    """By a template; where it is a lone ``json``, that has lines, as buildx's has."""
    import json
    import re

    from cais.cli.documents import formatted

    lone = re.fullmatch(r"\{\{\s*json\s+((?:\.\w*)+)\s*\}\}", format)
    document = _named({"image": {}, "provenance": None, "sbom": None, **found})
    if lone is None:
        return formatted(document, format)
    value: Any = found if lone[1] == "." else document
    for name in filter(None, lone[1].split(".")):
        value = value[name] if isinstance(value, dict) and name in value else None
    return json.dumps(value, indent=2, ensure_ascii=False)


def _text(name: str, document: Any) -> str:
    from cais.spec import media_types as types
    from cais.spec.manifest import Index
    from cais.spec.reference import Reference

    reference = Reference.parse(name)
    target = document.descriptor
    lines = _columns([("Name:", str(reference)), ("MediaType:", target.media_type), ("Digest:", target.digest)], "", 1)
    if target.media_type not in types.INDEXES:
        return "".join(lines)
    lines += [" " * 11 + "\n", "Manifests: \n"]
    by_name = reference._replace(tag="")
    items = Index.decode(document.raw, target.media_type).manifests
    for number, item in enumerate(items):
        tagged = f"{by_name._replace(tag=reference.tag, digest=item.digest)}"
        rows = [("Name:", tagged), ("MediaType:", item.media_type)]
        if item.platform is not None:
            rows.append(("Platform:", str(item.platform)))
        lines += _columns(rows, "  ", 1, 13)
        if item.annotations:
            lines.append("  Annotations: \n")
            lines += _columns([(f"{key}:", value) for key, value in sorted(item.annotations.items())], "    ", 1)
        if number + 1 < len(items):
            lines.append(" " * 15 + "\n")
    return "".join(lines)


def _columns(rows: Sequence[tuple[str, str]], indent: str, gap: int, least: int = 0) -> list[str]:
    from cais.cli.harmless import harmless

    width = max(least, max(len(key) for key, _ in rows) + gap)
    return [f"{indent}{key:<{width}}{harmless(value)}\n" for key, value in rows]
