"""Names from outside: of repositories and tags, and digests (distribution-spec, pulling manifests)."""

from __future__ import annotations

import re

from cais.catalog.errors import DigestInvalid, NameInvalid, TagInvalid
from cais.errors import Invalid
from cais.spec.digest import Digest

NAME_LIMIT = 255
ALGORITHMS = ("sha256", "sha512")

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")


def repository_name(text: str) -> str:
    """Raises NameInvalid."""
    if len(text) > NAME_LIMIT:
        raise NameInvalid(f"a repository's name has at most {NAME_LIMIT} characters, not {len(text)}")
    if _NAME.fullmatch(text) is None:
        raise NameInvalid(f"invalid repository name {text!r}", {"name": text})
    return text


def tag_name(text: str) -> str:
    """Raises TagInvalid."""
    if _TAG.fullmatch(text) is None:
        raise TagInvalid(f"invalid tag {text[:160]!r}", {"tag": text[:160]})
    return text


def digest(text: str) -> Digest:
    """Raises DigestInvalid."""
    try:
        return Digest.parse(text)
    except Invalid as error:
        raise DigestInvalid(error.message, {"digest": text[:160]}) from None
