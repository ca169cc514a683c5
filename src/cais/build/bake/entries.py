"""Entries of lists that may be written as text or as an object: outputs, caches, secrets, keys, attestations.

A target keeps them as text, the form that a build takes (``type=registry,ref=..``); ``--print`` shows objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.build.hcl.values import text
from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def written(field: str, value: Mapping[str, Any]) -> str:
    """``{ type = "registry", ref = ".." }`` as ``type=registry,ref=..``."""
    if field == "ssh":
        paths = value.get("paths") or []
        return text(value.get("id", "default")) + ("=" + ",".join(map(text, paths)) if paths else "")
    keys = sorted(value, key=lambda key: (key != "type", key != "id", key))
    return ",".join(_quoted(f"{key}={text(value[key])}") for key in keys if value[key] is not None)


def read(field: str, entry: str) -> dict[str, Any]:
    """An entry as ``--print`` shows it, the keys in its order. Raises Invalid, with buildx's words."""
    if field == "ssh":
        name, equals, paths = entry.partition("=")
        return {"id": name, **({"paths": paths.split(",")} if equals else {})}
    fields = _fields(entry)
    if field in ("cache-from", "cache-to") and len(fields) == 1 and "=" not in fields[0]:
        return {"ref": fields[0], "type": "registry"}
    if field == "output" and fields == [entry] and not entry.startswith("type="):
        return {"dest": entry, "type": "tar" if entry == "-" else "local"}
    said: dict[str, Any] = {}
    for part in fields:
        key, equals, value = part.partition("=")
        if not equals:
            raise Invalid(
                f"invalid field '{part}' must be a key=value pair" if field == "secret" else f"invalid value {part}"
            )
        said[key.strip().lower()] = value
    if field == "secret":
        return _secret(said)
    if not said.get("type"):
        raise Invalid(
            "type is required for output"
            if field == "output"
            else "attestation type not specified"
            if field == "attest"
            else f'type required form> "{entry}"'
        )
    if field == "attest" and "disabled" in said:
        disabled = said.pop("disabled")
        if disabled not in (*_TRUE, *_FALSE):
            raise Invalid(f"invalid value disabled={disabled}")
        if disabled in _TRUE:
            said["disabled"] = True
    return dict(sorted(said.items()))


def each_once(field: str, entries: Sequence[str]) -> list[str]:
    """Without what is empty, and without what says the same again; of an attestation's kind the last one counts."""
    found: dict[object, str] = {}
    for entry in entries:
        if entry:
            said = read(field, entry)
            found[said["type"] if field == "attest" else repr(said)] = entry
    return list(found.values())


def _secret(said: Mapping[str, str]) -> dict[str, Any]:
    kind = said.get("type", "")
    if kind not in ("", "file", "env"):
        raise Invalid(f'unsupported secret type "{kind}"')
    for key in said:
        if key not in ("type", "id", "source", "src", "env"):
            raise Invalid(f"unexpected key '{key}' in '{key}={said[key]}'")
    source, variable = said.get("source", said.get("src", "")), said.get("env", "")
    if kind == "env" and not variable:
        source, variable = "", source
    shown = {"id": said.get("id", ""), "src": source, "env": variable}
    return {key: value for key, value in shown.items() if value}


def _fields(entry: str) -> list[str]:
    """The fields of a line of CSV. Raises Invalid."""
    if '"' not in entry:
        return entry.split(",")
    import csv

    try:
        return next(csv.reader([entry], strict=True))
    except (csv.Error, StopIteration) as error:
        raise Invalid(f"invalid value {entry}: {error}")


def _quoted(field: str) -> str:
    """As a field of CSV."""
    return '"' + field.replace('"', '""') + '"' if any(char in field for char in ',"\n') else field
