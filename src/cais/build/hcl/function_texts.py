"""Functions of strings: forms, patterns, encodings, digests, times."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Mapping

from cais.build.hcl.values import kind, number, text
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MANY = 1000


def _of_text(action: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *values: action(*map(text, values))


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise Invalid(f"a list of strings is required, not {kind(value)}")
    return [text(item) for item in value]


def _decode64(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError:
        raise Invalid("the given value is no base64 of UTF-8")


def _base_name(path: str) -> str:
    if not path:
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def _directory_name(path: str) -> str:
    import posixpath

    directory = path.rpartition("/")[0] if "/" in path.lstrip("/") else ("/" if path.startswith("/") else "")
    cleaned = posixpath.normpath(directory or ".")
    return "/" + cleaned.lstrip("/") if cleaned.startswith("/") else cleaned


def _indent(count: Any, value: Any) -> str:
    return text(value).replace("\n", "\n" + " " * min(int(number(count)), 1000))


def _join(separator: Any, *lists: Any) -> str:
    return text(separator).join(item for value in lists for item in _texts(value))


def _pattern(source: str) -> re.Pattern[str]:
    """Of RE2's syntax, as far as both languages have it."""
    try:
        return re.compile(source, re.ASCII)
    except re.error as error:
        raise Invalid(f"invalid regexp pattern {source[:80]!r}: {error}")


def _matched(match: re.Match[str]) -> Any:
    if match.re.groupindex:
        return match.groupdict()
    return list(match.groups()) if match.re.groups else match.group()


def _regex(pattern: Any, value: Any) -> Any:
    match = _pattern(text(pattern)).search(text(value))
    if match is None:
        raise Invalid("pattern did not match any part of the given string")
    return _matched(match)


def _regex_all(pattern: Any, value: Any) -> list[Any]:
    return [_matched(match) for match in _pattern(text(pattern)).finditer(text(value))]


def _regex_replace(value: Any, pattern: Any, replacement: Any) -> str:
    """``$1``, ``${name}`` in the replacement are groups, as in Go."""
    given = text(replacement)

    def replaced(match: re.Match[str]) -> str:
        def group(named: re.Match[str]) -> str:
            if named.group() == "$$":
                return "$"
            name = named.group(1) or named.group(2)
            try:
                return match.group(int(name) if name.isdigit() else name) or ""
            except (IndexError, ValueError):
                return ""

        return re.sub(r"\$\$|\$\{(\w+)\}|\$(\w+)", group, given)

    return _pattern(text(pattern)).sub(replaced, text(value))


def _substring(value: Any, offset: Any, length: Any) -> str:
    given, start, count = text(value), int(number(offset)), int(number(length))
    start = max(0, len(given) + start) if start < 0 else start
    return given[start:] if count < 0 else given[start : start + count]


def _bytes_slice(value: Any, offset: Any, length: Any) -> str:
    raw, start, count = text(value).encode(), int(number(offset)), int(number(length))
    if start < 0 or count < 0 or start + count > len(raw):
        raise Invalid("offset and length are not within the string")
    return raw[start : start + count].decode("utf-8", "replace")


def _title(value: str) -> str:
    return re.sub(r"(^|[^\w'])(\w)", lambda match: match.group(1) + match.group(2).upper(), value)


def _split(separator: str, value: str) -> list[str]:
    return value.split(separator) if separator else list(value)


def _csv(value: str) -> list[Any]:
    import csv
    import io

    rows = csv.reader(io.StringIO(value), strict=True)
    try:
        names = next(rows)
        return [dict(zip(names, row, strict=True)) for row in rows if row]
    except (csv.Error, ValueError, StopIteration):
        raise Invalid("the value is no CSV with a line of names and lines as long")


def _json(value: str) -> Any:
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the value is no JSON: {error}")


def _to_json(value: Any) -> str:
    # As Go writes it: keys in order, and what HTML would read as its own escaped.
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return written.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _url(value: str) -> str:
    from urllib.parse import quote_plus

    return quote_plus(value, safe="")


def _uuid4() -> str:
    import uuid

    return str(uuid.uuid4())


def _uuid5(space: str, name: str) -> str:
    import uuid

    known = {
        "dns": uuid.NAMESPACE_DNS,
        "url": uuid.NAMESPACE_URL,
        "oid": uuid.NAMESPACE_OID,
        "x500": uuid.NAMESPACE_X500,
    }
    try:
        return str(uuid.uuid5(known.get(space) or uuid.UUID(space), name))
    except ValueError:
        raise Invalid(f"{space[:80]!r} is no namespace of UUIDs", hint="They are dns, url, oid, x500, or a UUID.")


def _lazily(module: str, name: str) -> Callable[..., Any]:
    """What stands in another module, which is loaded when it is called."""

    def call(*arguments: Any) -> Any:
        import importlib

        return getattr(importlib.import_module(f"cais.build.hcl.{module}"), name)(*arguments)

    return call


FUNCTIONS: Mapping[str, tuple[int, int, Callable[..., Any]]] = {
    "base64decode": (1, 1, _of_text(_decode64)),
    "base64encode": (1, 1, _of_text(lambda value: base64.b64encode(value.encode()).decode())),
    "basename": (1, 1, _of_text(_base_name)),
    "byteslen": (1, 1, _of_text(lambda value: len(value.encode()))),
    "bytesslice": (3, 3, _bytes_slice),
    "chomp": (1, 1, _of_text(lambda value: value.rstrip("\r\n"))),
    "cidrhost": (2, 2, _lazily("function_networks", "host")),
    "cidrnetmask": (1, 1, _lazily("function_networks", "mask")),
    "cidrsubnet": (3, 3, _lazily("function_networks", "subnet")),
    "cidrsubnets": (1, _MANY, _lazily("function_networks", "subnets")),
    "csvdecode": (1, 1, _of_text(_csv)),
    "dirname": (1, 1, _of_text(_directory_name)),
    "format": (1, _MANY, _lazily("function_forms", "format")),
    "formatdate": (2, 2, _lazily("function_forms", "format_date")),
    "formatlist": (1, _MANY, _lazily("function_forms", "format_list")),
    "indent": (2, 2, _indent),
    "join": (2, _MANY, _join),
    "jsondecode": (1, 1, _of_text(_json)),
    "jsonencode": (1, 1, _to_json),
    "lower": (1, 1, _of_text(str.lower)),
    "md5": (1, 1, _of_text(lambda value: hashlib.md5(value.encode(), usedforsecurity=False).hexdigest())),
    "regex": (2, 2, _regex),
    "regex_replace": (3, 3, _regex_replace),
    "regexall": (2, 2, _regex_all),
    "replace": (3, 3, _of_text(lambda value, old, new: value.replace(old, new))),
    "reverse": (1, 1, _of_text(lambda value: value[::-1])),
    "sanitize": (1, 1, _of_text(lambda value: re.sub(r"[^a-zA-Z0-9_-]", "_", value))),
    "sha1": (1, 1, _of_text(lambda value: hashlib.sha1(value.encode(), usedforsecurity=False).hexdigest())),
    "sha256": (1, 1, _of_text(lambda value: hashlib.sha256(value.encode()).hexdigest())),
    "sha512": (1, 1, _of_text(lambda value: hashlib.sha512(value.encode()).hexdigest())),
    "split": (2, 2, _of_text(_split)),
    "strlen": (1, 1, _of_text(len)),
    "substr": (3, 3, _substring),
    "timeadd": (2, 2, _lazily("function_forms", "time_add")),
    "timestamp": (0, 0, _lazily("function_forms", "timestamp")),
    "title": (1, 1, _of_text(_title)),
    "trim": (2, 2, _of_text(lambda value, chars: value.strip(chars))),
    "trimprefix": (2, 2, _of_text(lambda value, prefix: value.removeprefix(prefix))),
    "trimspace": (1, 1, _of_text(str.strip)),
    "trimsuffix": (2, 2, _of_text(lambda value, suffix: value.removesuffix(suffix))),
    "upper": (1, 1, _of_text(str.upper)),
    "urlencode": (1, 1, _of_text(_url)),
    "uuidv4": (0, 0, _uuid4),
    "uuidv5": (2, 2, _of_text(_uuid5)),
}
