"""Reference: ``[registry/]repository[:tag][@digest]``, with Docker's normalisation.

The grammar is the distribution project's: a first component with a dot, a colon or ``localhost`` (or an upper-case
letter) is the registry; a single name on Docker's own registry stands below ``library/``.
"""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
NAME_LIMIT = 255

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_REGISTRY = rf"(?:{_HOST}(?:\.{_HOST})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_TAG = _PLAIN | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-")
TAG_LIMIT = 128
_HEX = frozenset("0123456789abcdef")


class Reference(NamedTuple):
    """``registry`` and ``repository`` are normalised; ``tag`` is "" where none was given and a digest was."""

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, default_tag: str = DEFAULT_TAG) -> Reference:
        """A name as people write it. Raises Invalid with the reason.

        ``default_tag`` is given where ``text`` has neither tag nor digest ("" leaves the tag empty).
        """
        if not text:
            raise _bad(text, "it is empty")
        if len(text) == 64 and _HEX.issuperset(text):
            reason = f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
            raise Invalid(f"invalid reference format: {reason}")
        name, at, digest_text = text.partition("@")
        digest = None
        if at:
            try:
                digest = Digest.parse(digest_text)
            except Invalid as error:
                raise _bad(text, error.message)
        # A colon belongs to a tag only behind the last slash: localhost:5000/x has none.
        head, slash, last = name.rpartition("/")
        last, colon, tag = last.partition(":")
        name = head + slash + last
        if colon and not _is_tag(tag):
            raise _bad(
                text, f"the tag {tag[:130]!r} is not 1 to 128 letters, digits, '_', '.', '-' (no '.', '-' first)"
            )
        registry, repository = _split_registry(name)
        if registry != DEFAULT_REGISTRY and not _matches(_REGISTRY, registry):
            raise _bad(text, f"{registry!r} is not a registry's host")
        if not repository:
            raise _bad(text, "it has no repository")
        for component in repository.split("/"):
            if not component:
                raise _bad(text, "a component of its name is empty")
            if component != component.lower():
                named = f"library/{repository}" if (registry, "/" in repository) == (DEFAULT_REGISTRY, False) else name
                raise Invalid(f"invalid reference format: repository name ({named[:300]}) must be lowercase")
            if not _PLAIN.issuperset(component) and not _matches(_COMPONENT, component):
                raise _bad(text, f"{component!r} is not lower-case letters and digits joined by '.', '_', '__' or '-'")
        if registry == DEFAULT_REGISTRY and "/" not in repository:
            repository = "library/" + repository
        if len(repository) > NAME_LIMIT:
            raise _bad(text, f"repository name must not be more than {NAME_LIMIT} characters")
        if not tag and digest is None:
            tag = default_tag
        return cls(registry, repository, tag, digest)

    @property
    def name(self) -> str:
        """Registry and repository, in full: ``docker.io/library/debian``."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """As people write it: ``debian``."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        if self.repository.startswith("library/") and self.repository.count("/") == 1:
            return self.repository[len("library/") :]
        return self.repository

    @property
    def familiar(self) -> str:
        """``debian:latest``, ``localhost:5000/x@sha256:...``."""
        return self.familiar_name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __str__(self) -> str:
        """In full: ``docker.io/library/debian:latest``."""
        return self.name + self._suffix()


def _matches(pattern: str, text: str) -> bool:
    import re  # a plain name does without

    return re.fullmatch(pattern, text) is not None


def _is_tag(text: str) -> bool:
    return 0 < len(text) <= TAG_LIMIT and text[0] not in ".-" and _TAG.issuperset(text)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost" or first != first.lower()):
        return DEFAULT_REGISTRY, name
    if first == "index.docker.io":
        return DEFAULT_REGISTRY, rest
    return first, rest


def _bad(text: str, reason: str) -> Invalid:
    return Invalid(f"invalid reference format: {text[:300]!r}: {reason}")
