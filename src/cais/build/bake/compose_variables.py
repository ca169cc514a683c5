"""The variables of compose files: in their texts, and in files of ``NAME=VALUE``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_VARIABLE = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<named>[_a-zA-Z][_a-zA-Z0-9]*)|\{(?P<braced>[_a-zA-Z][_a-zA-Z0-9]*)"
    r"(?:(?P<how>:?[-?+])(?P<word>(?:[^{}$]|\$\{[^{}]*\}|\$[^{])*))?\}|(?P<invalid>))"
)
_ENV_LIMIT_BYTES = 1 << 20
_VALUES_LIMIT = 200_000
_DEPTH_LIMIT = 100


class Interpolation:
    """A document with its variables filled in. What aliases multiply beyond measure is refused."""

    def __init__(self, variables: Mapping[str, str], name: str) -> None:
        self._variables = variables
        self._name = name
        self._left = _VALUES_LIMIT

    def filled(self, value: Any, depth: int = 0) -> Any:
        self._left -= 1
        if self._left < 0 or depth > _DEPTH_LIMIT:
            raise Invalid(f"failed to parse {self._name}: it has too many values, or they are nested too deeply")
        if isinstance(value, str):
            return _filled(value, self._variables, self._name) if "$" in value else value
        if isinstance(value, dict):
            return {key: self.filled(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.filled(item, depth + 1) for item in value]
        return value


def _filled(text: str, variables: Mapping[str, str], file: str) -> str:
    def filled(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        if match["named"]:
            return variables.get(match["named"], "")
        name = match["braced"]
        if not name:
            raise Invalid(
                f"failed to parse {file}: invalid interpolation format in {text[:80]!r}", hint='"$$" is a dollar.'
            )
        how, word = match["how"] or "", match["word"] or ""
        value = variables.get(name)
        there = bool(value) if how.startswith(":") else value is not None
        if how.endswith("?") and not there:
            reason = _filled(word, variables, file)
            raise Invalid(f"required variable {name} is missing a value" + (f": {reason}" if reason else ""))
        if how.endswith("+"):
            return _filled(word, variables, file) if there else ""
        if how.endswith("-") and not there:
            return _filled(word, variables, file)
        return value or ""

    return _VARIABLE.sub(filled, text)


def environment_files(said: Any, directory: str) -> dict[str, str]:
    """What a service's ``env_file`` gives it."""
    found: dict[str, str] = {}
    for item in [said] if isinstance(said, str | dict) else said if isinstance(said, list) else ():
        path = str(item.get("path", "")) if isinstance(item, dict) else str(item)
        if path:
            found.update(environment_file(os.path.join(directory, path)))
    return found


def environment_file(path: str) -> dict[str, str]:
    """Lines of ``NAME=VALUE``; in double quotes escapes count, in single ones nothing does. One that is not there has
    none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read(_ENV_LIMIT_BYTES).splitlines()
    except OSError:
        return {}
    found: dict[str, str] = {}
    for line in lines:
        match = re.match(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*[=:]\s*(.*)", line)
        if match is None:
            continue
        name, value = match[1], match[2]
        if value[:1] == "'" and "'" in value[1:]:
            found[name] = value[1 : value.index("'", 1)]
            continue
        quoted = re.match(r'"((?:[^"\\]|\\.)*)"', value)
        if quoted is not None:
            value = re.sub(r"\\(.)", lambda part: {"n": "\n", "t": "\t", "r": "\r"}.get(part[1], part[1]), quoted[1])
        else:
            value = re.sub(r"(^|\s+)#.*", "", value).strip()
        try:
            found[name] = _filled(value, found, ".env") if "$" in value else value
        except Invalid:
            found[name] = value
    return found
