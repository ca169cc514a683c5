"""The flags of each instruction: ``--name=value``, ``--name`` for yes, some of them several times."""

from __future__ import annotations

from collections.abc import Sequence

from cais.build.dockerfile.errors import ParseError, Span, did_you_mean
from cais.build.dockerfile.instructions import RunMount

TEXT, SWITCH, SEVERAL = "text", "switch", "several"

FLAGS: dict[str, dict[str, str]] = {
    "FROM": {"platform": TEXT},
    "RUN": {"mount": SEVERAL, "network": TEXT, "security": TEXT, "device": SEVERAL},
    "COPY": {
        "from": TEXT, "chown": TEXT, "chmod": TEXT, "link": SWITCH, "parents": SWITCH, "exclude": SEVERAL,
    },
    "ADD": {
        "chown": TEXT, "chmod": TEXT, "link": SWITCH, "checksum": TEXT, "keep-git-dir": SWITCH, "unpack": SWITCH,
        "exclude": SEVERAL,
    },
    "HEALTHCHECK": {
        "interval": TEXT, "timeout": TEXT, "start-period": TEXT, "start-interval": TEXT, "retries": TEXT,
    },
}  # fmt: skip


class Flags:
    """What an instruction's flags say. Raises ParseError when made: unknown, given twice, without a value."""

    __slots__ = ("_several", "_single")

    def __init__(self, instruction: str, words: Sequence[str], span: Span) -> None:
        self._single: dict[str, str] = {}
        self._several: dict[str, list[str]] = {}
        known = FLAGS.get(instruction, {})
        for word in words:
            name, equals, value = word[2:].partition("=")
            kind = known.get(name)
            if kind is None:
                raise ParseError(f"unknown flag: --{name}{did_you_mean(name, known)}", span)
            if kind is SEVERAL:
                if not equals:
                    raise ParseError(f"missing a value on flag: --{name}", span)
                self._several.setdefault(name, []).append(value)
                continue
            if name in self._single:
                raise ParseError(f"duplicate flag specified: --{name}", span)
            if kind is SWITCH:
                value = value.lower() if equals else "true"
                if value not in ("true", "false"):
                    raise ParseError(f"expecting boolean value for flag --{name}, not: {value}", span)
            elif not equals:
                raise ParseError(f"missing a value on flag: --{name}", span)
            self._single[name] = value

    def text(self, name: str) -> str:
        return self._single.get(name, "")

    def switch(self, name: str) -> bool:
        return self._single.get(name) == "true"

    def several(self, name: str) -> tuple[str, ...]:
        return tuple(self._several.get(name, ()))

    def given(self, name: str) -> bool:
        return name in self._single or name in self._several


def run_mount(text: str, span: Span) -> RunMount:
    """The value of ``--mount``: comma separated ``key=value``, quoted where it has a comma (CSV). Raises ParseError.

    Only ``from`` is looked at here; the rest may have variables, and is nobody's concern in a stage that is not built.
    """
    if not text:
        raise ParseError("failed to parse csv mounts: EOF", span)
    options: list[tuple[str, str | None]] = []
    for field in _csv(text, span):
        key, equals, value = field.partition("=")
        key = key.lower()
        if key == "from" and "$" in value[:-1]:
            raise ParseError("'from' doesn't support variable expansion, define alias stage instead", span)
        options.append((key, value if equals else None))
    return RunMount(tuple(options), text)


def _csv(text: str, span: Span) -> list[str]:
    if '"' not in text:
        return text.split(",")
    fields: list[str] = []
    position = 0
    while True:
        if text.startswith('"', position):
            field: list[str] = []
            position += 1
            while True:
                end = text.find('"', position)
                if end < 0:
                    raise ParseError(f"failed to parse csv mounts: unterminated quote in {text}", span)
                field.append(text[position:end])
                position = end + 1
                if not text.startswith('"', position):
                    break
                field.append('"')
                position += 1
            fields.append("".join(field))
            if position < len(text) and text[position] != ",":
                raise ParseError(f"failed to parse csv mounts: misplaced quote in {text}", span)
        else:
            end = text.find(",", position)
            end = len(text) if end < 0 else end
            fields.append(text[position:end])
            position = end
        if position >= len(text):
            return fields
        position += 1
