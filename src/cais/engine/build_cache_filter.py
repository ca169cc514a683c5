"""Filters of the build cache: ``key=value``, ``key!=value``, ``key~=pattern``, or a bare word; all have to fit."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from cais.engine.build_cache import CacheEntry
from cais.errors import Invalid
from cais.spec.duration import parse_duration

_FLAGS = ("inuse", "mutable", "immutable", "shared", "private")
_KEYS = ("id", "parents", "description", "type", "stage", "dockerfile", "name", "until", "unused-for")
_HINT = f"The filters are {', '.join((*_KEYS, *_FLAGS))}, with =, != or ~= (a regular expression)."

Filter = Callable[[CacheEntry], bool]


def parse_filters(texts: Sequence[str], now: float) -> Filter:
    """What fits all of ``texts``; with ``until=DURATION`` what was not used for so long. Raises Invalid."""
    tests = [_parse(text, now) for text in texts]
    return lambda entry: all(test(entry) for test in tests)


def _parse(text: str, now: float) -> Filter:
    match = re.fullmatch(r"([a-z-]+)\s*(?:(~=|!=|==|=)(.*))?", text, re.DOTALL)
    if match is None:
        raise Invalid(f"bad format of filter {text!r} (expected name=value)", hint=_HINT)
    key, operator, value = match[1], match[2] or "", match[3] or ""
    if key in _FLAGS:
        return _flag(key, operator, value, text)
    if key not in _KEYS:
        raise Invalid(f"invalid filter {key!r}", hint=_HINT)
    if not operator:
        raise Invalid(f"bad format of filter {text!r} (expected name=value)", hint=_HINT)
    if key in ("until", "unused-for"):
        if operator not in ("=", "=="):
            raise Invalid(f"bad format of filter {text!r}: a duration takes =", hint=_HINT)
        seconds = parse_duration(value)
        if seconds is None or seconds < 0:
            raise Invalid(f"{key!r} filter expects a duration (e.g., '24h'): invalid duration {value!r}")
        return lambda entry: entry.used <= now - seconds
    return _text(key, operator, value)


def _flag(key: str, operator: str, value: str, text: str) -> Filter:
    wanted = True
    if operator:
        if operator == "~=" or value.lower() not in ("true", "1", "false", "0"):
            raise Invalid(f"invalid filter {text!r}: {key} is true or false")
        wanted = (value.lower() in ("true", "1")) == (operator != "!=")
    tests: dict[str, Filter] = {
        "inuse": lambda entry: entry.in_use,
        "mutable": lambda entry: entry.mutable,
        "immutable": lambda entry: not entry.mutable,
        "shared": lambda entry: entry.shared,
        "private": lambda entry: not entry.shared,
    }
    return lambda entry: tests[key](entry) is wanted


def _text(key: str, operator: str, value: str) -> Filter:
    if operator == "~=":
        try:
            pattern = re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            raise Invalid(f"invalid filter: {value!r} is no regular expression: {error}")

        def fits(text: str) -> bool:
            return pattern.search(text) is not None
    elif key == "id":
        # As with Docker, a part of it does.
        def fits(text: str) -> bool:
            return bool(value) and text.startswith(value)
    else:

        def fits(text: str) -> bool:
            return text == value

    def found(entry: CacheEntry) -> bool:
        return any(fits(text) for text in _texts(entry, key))

    if operator == "!=":
        return lambda entry: not found(entry)
    return found


def _texts(entry: CacheEntry, key: str) -> tuple[str, ...]:
    """What an entry says for ``key``. ``name`` is a stage, or a Dockerfile by its path or its file's name."""
    if key == "id":
        return (entry.id, entry.key)
    if key == "parents":
        return entry.parents
    if key == "description":
        return (entry.description,)
    if key == "type":
        return (entry.type,)
    if key == "stage":
        return entry.stages
    files = (*entry.dockerfiles, *(os.path.basename(path) for path in entry.dockerfiles))
    return files if key == "dockerfile" else (*entry.stages, *files)
