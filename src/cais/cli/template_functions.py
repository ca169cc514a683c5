"""Go templates: the functions (text/template's and Docker's), and how Go prints values."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Wrong(Exception):
    """What a function says about arguments that it cannot take."""


class NilList(list[object]):
    """A list that is not there: empty, and ``null`` as JSON."""


class NilMap(dict[str, object]):
    """An object that is not there."""


class NilPointer:
    """An object or a number that is not there, and that Docker's types point to."""

    def __bool__(self) -> bool:
        return False

    def __str__(self) -> str:
        return "<nil>"

    def as_json(self) -> None:
        """``null``."""


def true(value: Any) -> bool:
    """Go's truth: empty texts, lists and maps, zero, false and nil are not."""
    return bool(value) if not hasattr(value, "item") else True


def type_name(value: Any) -> str:
    """A word for the Go type that ``value`` would be."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float64"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (list, tuple)):
        return "[]interface {}"
    return "map[string]interface {}" if isinstance(value, dict) else "interface {}"


def printed(value: Any, nested: bool = False) -> str:
    """As ``fmt.Print``: ``[a b]``, ``map[k:v]``, ``{a b}`` of a struct, ``<no value>``."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<nil>" if nested else "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(printed(item, True) for item in value) + "]"
    if isinstance(value, dict):
        return _printed_object(value)
    if isinstance(value, NilPointer):
        return str(value)
    as_json = getattr(value, "as_json", None)
    return printed(as_json()) if as_json is not None else str(value)


def _printed_object(value: dict[str, Any]) -> str:
    from cais.cli.template_structs import struct_values, text_instead, ulimit

    values = struct_values(value)
    if values is not None:
        return "{" + " ".join(printed(item, True) for item in values) + "}"
    items = (f"{key}:{text_instead(key, item) or printed(item, True)}" for key, item in sorted(value.items()))
    return ulimit(value) or "map[" + " ".join(items) + "]"


def _float(value: float) -> str:
    if value == int(value) and abs(value) < 1e21:
        return str(int(value))
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{exponent[0] if exponent[0] in '+-' else '+'}{exponent.lstrip('+-'):0>2}" if e else text


def to_json(value: Any) -> str:
    """Compact, and without escapes that JSON does not need; rows of lists escape what HTML would, as Docker's do."""
    import json

    if isinstance(value, (NilList, NilMap)):
        return "null"

    def unknown(item: Any) -> Any:
        return item.as_json()

    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=unknown)
    if hasattr(value, "as_json"):
        text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return text


def _equal(first: Any, *others: Any) -> bool:
    for other in others:
        if (first is None) != (other is None):
            continue
        if _basic(first) != _basic(other):
            raise Wrong("incompatible types for comparison")
        if first == other:
            return True
    return False


def _basic(value: Any) -> str:
    name = type_name(value)
    if name not in ("bool", "int", "float64", "string") and value is not None:
        raise Wrong("non-comparable type " + name)
    return name


def _less(first: Any, second: Any) -> bool:
    if _basic(first) != _basic(second) or isinstance(first, bool) or first is None:
        raise Wrong("incompatible types for comparison" if _basic(first) != _basic(second) else
                    "invalid type for comparison")  # fmt: skip
    return bool(first < second)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, (list, tuple, dict)):
        return len(value)
    raise Wrong("len of nil pointer" if value is None else f"len of type {type_name(value)}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            if not isinstance(key, str):
                raise Wrong(f"value has type {type_name(key)}; should be string")
            # Docker's maps are maps of texts: a missing key is an empty one.
            value = value.get(key, "")
        elif isinstance(value, (list, tuple, str)):
            if isinstance(key, bool) or not isinstance(key, int):
                raise Wrong(f"cannot index slice/array with type {type_name(key)}")
            if not 0 <= key < len(value):
                raise Wrong(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise Wrong("index of nil pointer" if value is None else f"can't index item of type {type_name(value)}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if not isinstance(value, (str, list, tuple)):
        raise Wrong(f"can't slice item of type {type_name(value)}")
    for bound in bounds:
        if isinstance(bound, bool) or not isinstance(bound, int):
            raise Wrong(f"cannot index slice/array with type {type_name(bound)}")
        if not 0 <= bound <= len(value):
            raise Wrong(f"index out of range: {bound}")
    first, last = [*bounds, *(0, len(value))[len(bounds) :]][:2]
    if first > last:
        raise Wrong(f"invalid slice index: {first} > {last}")
    return value[first:last]


def _print(*values: Any) -> str:
    """A space between two operands when neither is a text."""
    result = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            result += " "
        result += printed(value, True)
    return result


def _println(*values: Any) -> str:
    return " ".join(printed(value, True) for value in values) + "\n"


def _printf(format: Any, *values: Any) -> str:
    if not isinstance(format, str):
        raise Wrong(f"wrong type for value; expected string; got {type_name(format)}")
    result, index, used = "", 0, 0
    while index < len(format):
        letter = format[index]
        index += 1
        if letter != "%":
            result += letter
            continue
        start = index
        while index < len(format) and format[index] in "+-# 0123456789.":
            index += 1
        options = format[start:index]
        if index == len(format):
            return result + "%!(NOVERB)"
        verb = format[index]
        index += 1
        if verb == "%":
            result += "%"
        elif used == len(values):
            result += f"%!{verb}(MISSING)"
        else:
            result += _verb(verb, options, values[used])
            used += 1
    if used < len(values):
        extra = ", ".join(f"{type_name(value)}={printed(value, True)}" for value in values[used:])
        result += f"%!(EXTRA {extra})"
    return result


def _verb(verb: str, options: str, value: Any) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    text = value if isinstance(value, str) else None
    if verb == "v" or (verb == "s" and not whole and not isinstance(value, (bool, float))):
        padded: str = f"%{options.replace('+', '').removeprefix('0')}s" % printed(value, True)
        return padded
    if verb == "q" and text is not None:
        from cais.cli.others import quoted

        return f"%{options}s" % quoted(text)
    if verb in "xX" and text is not None:
        encoded = text.encode("utf-8", "surrogateescape").hex()
        return encoded.upper() if verb == "X" else encoded
    if whole and verb in "dxXo":
        return str(f"%{options}{verb}" % value)
    if whole and verb == "b":
        return f"{value:b}"
    if whole and verb in "cq":
        return chr(value) if verb == "c" else repr(chr(value))
    if isinstance(value, float) and verb in "feEgG":
        return str(f"%{options}{verb}" % value)
    if isinstance(value, bool) and verb == "t":
        return f"%{options}s" % printed(value)
    if verb == "T":
        return type_name(value)
    return f"%!{verb}({type_name(value)}={printed(value, True)})"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Wrong(f"wrong type for value; expected string; got {type_name(value)}")
    return value


def _join(parts: Any, separator: Any) -> str:
    if not isinstance(parts, (list, tuple)):
        if parts is None:
            return ""
        raise Wrong(f"wrong type for value; expected []string; got {type_name(parts)}")
    return _text(separator).join(printed(part, True) for part in parts)


def _title(value: Any) -> str:
    result, before = "", " "
    for letter in _text(value):
        result += letter.upper() if not (before.isalnum() or before in "_'") else letter
        before = letter
    return result


def _pad(value: Any, before: Any, after: Any) -> str:
    return " " * before + value + " " * after if value else ""


def _truncate(value: Any, length: Any) -> str:
    text: str = _text(value)
    return text[:length]


def _html(*values: Any) -> str:
    text = _print(*values).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace('"', "&#34;").replace("'", "&#39;").replace("\0", "�")


def _js(*values: Any) -> str:
    text = _print(*values).replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"').replace("\n", "\\n")
    return text.replace("<", "\\u003C").replace(">", "\\u003E").replace("&", "\\u0026").replace("=", "\\u003D")


def _query(*values: Any) -> str:
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~"
    encoded = _print(*values).encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in plain else "+" if byte == 32 else f"%{byte:02X}" for byte in encoded)


def _call(function: Any, *arguments: Any) -> Any:
    raise Wrong(f"non-function of type {type_name(function)}")


# name: (least arguments, most, function). and, or are evaluated by the machine.
TABLE: dict[str, tuple[int, int | None, Callable[..., Any]]] = {
    "and": (1, None, _call),
    "or": (1, None, _call),
    "not": (1, 1, lambda value: not true(value)),
    "eq": (2, None, _equal),
    "ne": (2, 2, lambda first, second: not _equal(first, second)),
    "lt": (2, 2, _less),
    "le": (2, 2, lambda first, second: _less(first, second) or _equal(first, second)),
    "gt": (2, 2, lambda first, second: _less(second, first)),
    "ge": (2, 2, lambda first, second: _less(second, first) or _equal(first, second)),
    "len": (1, 1, _length),
    "index": (1, None, _index),
    "slice": (1, None, _slice),
    "print": (0, None, _print),
    "printf": (1, None, _printf),
    "println": (0, None, _println),
    "html": (0, None, _html),
    "js": (0, None, _js),
    "urlquery": (0, None, _query),
    "call": (1, None, _call),
    "json": (1, 1, to_json),
    "split": (2, 2, lambda text, separator: _text(text).split(separator) if separator else list(_text(text))),
    "join": (2, 2, _join),
    "title": (1, 1, _title),
    "lower": (1, 1, lambda text: _text(text).lower()),
    "upper": (1, 1, lambda text: _text(text).upper()),
    "pad": (3, 3, _pad),
    "truncate": (2, 2, _truncate),
}
