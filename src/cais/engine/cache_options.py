"""What ``--cache-from`` and ``--cache-to`` say, read and checked before anything is built."""

from __future__ import annotations

from cais.engine.output_options import fields
from cais.errors import Invalid, Unsupported
from cais.spec.named import NamedTuple

_ELSEWHERE = ("gha", "s3", "azblob")
_COMPRESSIONS = {"gzip": "gzip", "zstd": "zstd", "uncompressed": "none"}
_LEVELS = {"gzip": 9, "zstd": 22, "none": 0}
_LOCAL_FROM = frozenset(("type", "src", "tag", "digest"))
_LOCAL_TO = frozenset((
    "type", "dest", "mode", "tag", "compression", "compression-level", "force-compression", "ignore-error",
    "image-manifest", "oci-mediatypes",
))  # fmt: skip
_REGISTRY_FROM = frozenset(("type", "ref", "registry.insecure"))
_REGISTRY_TO = _LOCAL_TO - {"dest", "tag"} | {"ref", "registry.insecure"}
_HINT = "Keep it in a registry (type=registry), a directory (type=local), or in the image itself (type=inline)."


class CacheSource(NamedTuple):
    """``kind`` is local (``place`` is a directory) or registry (``place`` names a cache, or an image with one)."""

    kind: str
    place: str
    tag: str = "latest"
    digest: str = ""
    insecure: bool = False

    @classmethod
    def parse(cls, text: str) -> CacheSource:
        """``type=local,src=DIRECTORY``, ``type=registry,ref=NAME``, or a lone name. Raises Invalid, Unsupported."""
        given = _given(text, "--cache-from")
        kind = given.get("type", "")
        if kind == "registry":
            _check_names(given, _REGISTRY_FROM, "--cache-from")
            return cls("registry", _reference(given, "--cache-from"), insecure=_insecure(given, "--cache-from"))
        if kind in _ELSEWHERE:
            raise Unsupported(f"--cache-from type={kind} is not in this version of cais", hint=_HINT)
        if kind != "local":
            raise Invalid(f"--cache-from {text}: unknown type {kind!r}", hint="The types are local and registry.")
        _check_names(given, _LOCAL_FROM, "--cache-from")
        if not given.get("src"):
            raise Invalid("--cache-from type=local needs src=DIRECTORY")
        return cls("local", given["src"], given.get("tag") or "latest", given.get("digest", ""))


class CacheTarget(NamedTuple):
    """``kind`` is local (``place`` is a directory), registry (a name) or inline. ``all``: of every step, not only of
    the image's own.

    ``compression`` is gzip, zstd or none, ``level`` its own.
    """

    kind: str
    place: str = ""
    all: bool = False
    tag: str = "latest"
    compression: str = "zstd"
    level: int | None = None
    ignore_error: bool = False
    insecure: bool = False

    @classmethod
    def parse(cls, text: str) -> CacheTarget:
        """``type=local,dest=DIRECTORY[,mode=max]..``, ``type=registry,ref=NAME[,mode=max]..`` or ``type=inline``.

        Raises Invalid, Unsupported.
        """
        given = _given(text, "--cache-to")
        kind = given.get("type", "")
        mode = given.get("mode", "min")
        if kind in _ELSEWHERE:
            raise Unsupported(f"--cache-to type={kind} is not in this version of cais", hint=_HINT)
        if mode not in ("min", "max"):
            raise Invalid(f"--cache-to: unknown mode {mode!r}", hint="The modes are min and max.")
        if kind == "inline":
            return cls("inline")
        if kind not in ("local", "registry"):
            raise Invalid(f"--cache-to {text}: unknown type {kind!r}", hint="The types are registry, local and inline.")
        _check_names(given, _LOCAL_TO if kind == "local" else _REGISTRY_TO, "--cache-to")
        if kind == "local" and not given.get("dest"):
            raise Invalid("--cache-to type=local needs dest=DIRECTORY")
        place = given["dest"] if kind == "local" else _reference(given, "--cache-to")
        # In a registry the layers of an image are those of its cache.
        compression = given.get("compression", "zstd" if kind == "local" else "gzip")
        if compression == "estargz":
            raise Unsupported("--cache-to compression=estargz is not in this version of cais")
        if compression not in _COMPRESSIONS:
            raise Invalid(f"--cache-to: unknown compression {compression!r}", hint="Known: gzip, zstd, uncompressed.")
        compression = _COMPRESSIONS[compression]
        return cls(
            kind,
            place,
            mode == "max",
            given.get("tag") or "latest",
            compression,
            _level(given.get("compression-level", ""), compression),
            _truth(given.get("ignore-error", "false"), "ignore-error"),
            _insecure(given, "--cache-to"),
        )


def _given(text: str, flag: str) -> dict[str, str]:
    if "=" not in text and text:
        return {"type": "registry", "ref": text}
    given: dict[str, str] = {}
    for field in fields(text):
        key, equals, value = field.partition("=")
        if not equals or not key.strip():
            raise Invalid(f"invalid value {field!r} of {flag}", hint="It is written as type=local,dest=PATH.")
        given[key.strip().lower()] = value
    if not given.get("type"):
        raise Invalid(f'type required form> "{text}"', hint="It is written as type=local,dest=PATH.")
    return given


def _reference(given: dict[str, str], flag: str) -> str:
    """Raises Invalid where ``ref`` is missing, or no name."""
    if not given.get("ref"):
        raise Invalid(f"{flag} type=registry needs ref=NAME")
    from cais.spec.reference import Reference

    Reference.parse(given["ref"])
    return given["ref"]


def _insecure(given: dict[str, str], flag: str) -> bool:
    return _truth(given.get("registry.insecure", "false"), "registry.insecure", flag)


def _check_names(given: dict[str, str], known: frozenset[str], flag: str) -> None:
    for name in given:
        if name not in known:
            raise Invalid(
                f"{flag} type={given['type']}: unknown option {name!r}", hint=f"Known: {', '.join(sorted(known))}."
            )


def _level(text: str, compression: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > _LEVELS[compression]:
        raise Invalid(f"--cache-to: {text!r} is no compression-level of {compression} (0 to {_LEVELS[compression]})")
    level = int(text)
    # What the compressors have: gzip's goes to 3, zstd's from 1 to 19.
    return min(level, 3) if compression == "gzip" else max(1, min(level, 19))


def _truth(text: str, name: str, flag: str = "--cache-to") -> bool:
    if text.lower() in ("true", "1"):
        return True
    if text.lower() in ("false", "0"):
        return False
    raise Invalid(f"{flag}: {name}={text!r} is neither true nor false")
