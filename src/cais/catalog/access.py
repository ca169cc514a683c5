"""Access: the one place that decides who may do what. What no rule allows is denied."""

from __future__ import annotations

from cais.catalog.errors import NotAllowed, NotKnown
from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

# What may be done in a repository; LIST is seeing which there are, without one: each name is asked for again with PULL.
PULL, PUSH, DELETE, LIST = "pull", "push", "delete", "list"
LEVELS = ("none", "read", "write")


class Who(NamedTuple):
    """Who asks; "" is who has not said it."""

    name: str = ""


ANYBODY = Who()

if TYPE_CHECKING:

    class Access(Protocol):
        def identify(self, authorization: str) -> Who:
            """By the value of the header ("" where there is none). Raises NotKnown: the credentials are wrong."""

        def allows(self, who: Who, action: str, repository: str) -> bool:
            """Whether ``who`` may pull from, push to or delete in ``repository``; "" is the registry itself."""

        def challenge(self, action: str, repository: str) -> str:
            """What ``WWW-Authenticate`` says to who may not; "" where credentials cannot help."""


class AnonymousAccess:
    """Everybody is the same: may do nothing, read, or everything."""

    def __init__(self, level: str) -> None:
        """Raises Invalid."""
        if level not in LEVELS:
            raise Invalid(f"anonymous access is one of {', '.join(LEVELS)}, not {level!r}")
        self._level = level

    def identify(self, authorization: str) -> Who:
        return ANYBODY

    def allows(self, who: Who, action: str, repository: str) -> bool:
        return self._level == "write" or (self._level == "read" and action in (PULL, LIST))

    def challenge(self, action: str, repository: str) -> str:
        return ""


def require(access: Access, who: Who, action: str, repository: str) -> None:
    """Returns where it is allowed. Raises NotKnown (say who you are) or NotAllowed."""
    if access.allows(who, action, repository):
        return
    detail = {"action": action, "repository": repository}
    if not who.name:
        raise NotKnown("authentication required", detail)
    raise NotAllowed(f"{action} access to {repository} is denied", detail)
