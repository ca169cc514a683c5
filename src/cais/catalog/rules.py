"""The rules: who may do what with which repository. Pure, and the only place that decides.

Nothing is allowed but by one of these sentences:

- An administrator may do everything.
- A grant allows its subject its actions on the repositories whose names match its pattern. ``admin`` is all actions.
- A grant to ``everyone`` is one to each account and robot; of it, who did not sign in gets ``pull`` alone.
- A public repository may be pulled by everyone.
- Who did not sign in gets nothing where anonymous reading is switched off, and everything where the registry is open.
- A robot that belongs to an account may never do more than that account.

A pattern is a repository's name in which ``*`` stands for any characters, slashes too: ``team/app``, ``team/*``, ``*``.
So a list of what somebody sees can be asked of the database (``Seen``), and need not be sifted afterwards.
"""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

PULL, PUSH, DELETE, ADMIN = "pull", "push", "delete", "admin"
ACTIONS = (PULL, PUSH, DELETE, ADMIN)
_ALL = frozenset(ACTIONS)
_NOTHING: frozenset[str] = frozenset()

# Kinds of subjects. An organisation is a subject as an account is: those who belong to it have its grants.
ACCOUNT, ROBOT, ORGANISATION, EVERYONE = "account", "robot", "organisation", "everyone"
ANONYMOUS = "anonymous"  # who asks without saying who; never a grant's subject

# What is open to those who do not sign in: nothing, reading what is public, or the whole registry.
OPEN_NOTHING, OPEN_READING, OPEN_ALL = "none", "read", "write"

_PATTERN_LIMIT = 255
_PATTERN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-/*")


class Subject(NamedTuple):
    """Who: a kind and a name. ``everyone`` and ``anonymous`` have no name of their own."""

    kind: str
    name: str = ""

    @classmethod
    def parse(cls, text: str) -> Subject:
        """``alice``, ``robot:ci``, ``organisation:acme``, ``everyone``. Raises Invalid."""
        if text == EVERYONE:
            return cls(EVERYONE)
        kind, colon, name = text.partition(":")
        if not colon:
            kind, name = ACCOUNT, text
        if kind not in (ACCOUNT, ROBOT, ORGANISATION) or not name:
            raise Invalid(
                f"invalid subject {text[:80]!r}",
                hint="A grant is for an account (alice), a robot (robot:ci), an organisation (organisation:acme) "
                "or everyone.",
            )
        return cls(kind, name)

    def __str__(self) -> str:
        if self.kind in (EVERYONE, ANONYMOUS):
            return self.kind
        return self.name if self.kind == ACCOUNT else f"{self.kind}:{self.name}"


class Grant(NamedTuple):
    """``actions`` of ``ACTIONS``."""

    subject: Subject
    pattern: str
    actions: frozenset[str]

    @property
    def allows(self) -> frozenset[str]:
        return _ALL if ADMIN in self.actions else self.actions

    def in_order(self) -> list[str]:
        return in_order(self.actions)


class Rights(NamedTuple):
    """Everything that the rules want to know of who asks. ``grants`` are its own, its organisations' and everyone's;
    ``within`` bounds a robot by the rights of the account that it belongs to."""

    subject: Subject
    everything: bool = False
    reads_public: bool = False
    grants: tuple[Grant, ...] = ()
    within: Rights | None = None


NO_RIGHTS = Rights(Subject(ANONYMOUS))


def anonymous(openness: str, grants: Iterable[Grant]) -> Rights:
    """The rights of who did not sign in. ``grants`` are those to everyone."""
    if openness == OPEN_ALL:
        return Rights(Subject(ANONYMOUS), everything=True)
    if openness != OPEN_READING:
        return NO_RIGHTS
    reading = tuple(grant._replace(actions=frozenset((PULL,))) for grant in grants if PULL in grant.allows)
    return Rights(Subject(ANONYMOUS), reads_public=True, grants=reading)


def decide(rights: Rights, repository: str, *, public: bool) -> frozenset[str]:
    """The actions that are allowed on a repository, which need not exist; ``public`` is False for one that does not."""
    if rights.everything:
        allowed = _ALL
    else:
        allowed = _NOTHING
        if public and rights.reads_public:
            allowed = frozenset((PULL,))
        for grant in rights.grants:
            if matches(grant.pattern, repository):
                allowed |= grant.allows
    if rights.within is not None and allowed:
        allowed &= decide(rights.within, repository, public=public)
    return allowed


class Seen(NamedTuple):
    """Repositories that a list may show: all, or the public ones (if ``public``) and those that match a pattern."""

    everything: bool
    public: bool
    patterns: tuple[str, ...]


def seen(rights: Rights) -> tuple[Seen, ...]:
    """What may be pulled, for a query: a repository is shown where each of these says so."""
    own = Seen(
        rights.everything,
        rights.reads_public,
        tuple(dict.fromkeys(grant.pattern for grant in rights.grants if PULL in grant.allows)),
    )
    return (own,) if rights.within is None else (own, *seen(rights.within))


def matches(pattern: str, name: str) -> bool:
    """Whether ``*`` can stand for characters so that the pattern is the name."""
    parts = pattern.split("*")
    if len(parts) == 1:
        return pattern == name
    first, *middle, last = parts
    if len(name) < len(first) + len(last) or not (name.startswith(first) and name.endswith(last)):
        return False
    at, end = len(first), len(name) - len(last)
    for part in middle:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def check_pattern(pattern: str) -> str:
    """Returns it. Raises Invalid."""
    if not pattern or len(pattern) > _PATTERN_LIMIT or not _PATTERN.issuperset(pattern):
        raise Invalid(
            f"invalid pattern {pattern[:80]!r}: it is not a repository's name, with '*' for any characters",
            hint="For example team/app, 'team/*' or '*'.",
        )
    return pattern


def check_actions(words: Iterable[str]) -> frozenset[str]:
    """Returns them. Raises Invalid."""
    actions = frozenset(words)
    if not actions or not actions <= _ALL:
        wrong = ", ".join(repr(word[:40]) for word in sorted(actions - _ALL)) or "none"
        raise Invalid(f"invalid actions: {wrong}", hint=f"The actions are {', '.join(ACTIONS)}.")
    return actions


def in_order(actions: Iterable[str]) -> list[str]:
    """As they are written everywhere."""
    return [action for action in ACTIONS if action in actions]
