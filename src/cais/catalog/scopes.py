"""Scopes of Docker's token protocol: ``repository:team/app:pull,push``, ``registry:catalog:*``, several at once.

https://distribution.github.io/distribution/spec/auth/scope/
"""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

REPOSITORY = "repository"
REGISTRY = "registry"
CATALOG = "catalog"
EVERY_ACTION = "*"
SCOPES_LIMIT = 64  # of one request; a push that mounts from other repositories asks for a few
_TEXT_LIMIT = 512


class Scope(NamedTuple):
    """``actions`` as they were asked for, in their order, without repetitions."""

    kind: str
    name: str
    actions: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Scope:
        """One scope. Raises Invalid. The name may have colons (a host with its port), the kind a class in brackets,
        which says nothing to us: ``repository(plugin):x:pull``."""
        kind, first, rest = text.partition(":")
        name, last, actions = rest.rpartition(":")
        kind = kind.partition("(")[0]
        if len(text) > _TEXT_LIMIT or not (kind and first and name and last) or not text.isprintable():
            raise Invalid(f"invalid scope {text[:80]!r}: it is not TYPE:NAME:ACTION[,ACTION...]")
        return cls(kind, name, tuple(dict.fromkeys(filter(None, actions.split(",")))))

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}:{','.join(self.actions)}"


def parse(texts: Iterable[str]) -> tuple[Scope, ...]:
    """All scopes of a request: several parameters, and several in one, with blanks between. Those of one thing are
    joined. Raises Invalid."""
    joined: dict[tuple[str, str], Scope] = {}
    for text in texts:
        for word in text.split():
            scope = Scope.parse(word)
            known = joined.get(scope[:2])
            if known is not None:
                scope = scope._replace(actions=tuple(dict.fromkeys(known.actions + scope.actions)))
            joined[scope[0], scope[1]] = scope
            if len(joined) > SCOPES_LIMIT:
                raise Invalid(f"more than {SCOPES_LIMIT} scopes in one request")
    return tuple(joined.values())


def format(scopes: Iterable[Scope]) -> str:
    """As a challenge and a token's answer name them: with blanks between."""
    return " ".join(map(str, scopes))
