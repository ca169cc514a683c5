"""Restart policies: read from ``--restart``, asked after each end of a container. Pure; Docker's rules and words."""

from __future__ import annotations

from cais.errors import Conflict, Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NAMES = ("no", "always", "on-failure", "unless-stopped")
FIRST_WAIT_MILLISECONDS = 100
LONGEST_WAIT_MILLISECONDS = 60_000
# A run of so long was a good one: the next wait is the first again.
GOOD_RUN_SECONDS = 10.0


class RestartPolicy(NamedTuple):
    """``name``: one of ``NAMES``. ``retries``: on-failure gives up after so many; 0 is never."""

    name: str = "no"
    retries: int = 0

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "retries": self.retries}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RestartPolicy:
        return cls(str(value["name"]), int(value["retries"]))


BY_HAND, BY_SHUTDOWN = 1, 2


class Restarts(NamedTuple):
    """What is known of a container's ends so far. ``number``: how often it was started again by its policy.

    ``wait_milliseconds``: the last wait before a restart, 0 for none yet. ``stopped``: ``BY_HAND`` or ``BY_SHUTDOWN``
    where it was stopped and not started since.
    """

    number: int = 0
    wait_milliseconds: int = 0
    stopped: int = 0


def parse(text: str) -> RestartPolicy:
    """``no``, ``always``, ``unless-stopped``, ``on-failure[:retries]``; "" is ``no``. Raises Invalid."""
    if not text:
        return RestartPolicy()
    name, colon, number = text.partition(":")
    if colon and not name:
        raise Invalid("invalid restart policy format: no policy provided before colon", exit_code=125)
    try:
        retries = int(number) if number else 0
    except ValueError:
        raise Invalid("invalid restart policy format: maximum retry count must be an integer", exit_code=125)
    if name not in NAMES:
        raise Invalid(
            f"invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or "
            "'unless-stopped'",
            exit_code=125,
        )
    if name != "on-failure" and retries:
        more = " and cannot be negative" if retries < 0 else ""
        raise Invalid(
            f"invalid restart policy: maximum retry count can only be used with 'on-failure'{more}", exit_code=125
        )
    if retries < 0:
        raise Invalid("invalid restart policy: maximum retry count cannot be negative", exit_code=125)
    return RestartPolicy(name, retries)


def for_run(text: str, *, auto_remove: bool) -> RestartPolicy:
    """As ``parse``, for a new container. Raises Conflict for one that is removed with its end."""
    policy = parse(text)
    if auto_remove and policy.name != "no":
        raise Conflict("conflicting options: cannot specify both --restart and --rm", exit_code=125)
    return policy


def for_update(text: str, *, auto_remove: bool) -> RestartPolicy:
    """As ``parse``, for a container that is there. Raises Conflict for one that is removed with its end."""
    policy = parse(text)
    if auto_remove:
        raise Conflict("Restart policy cannot be updated because AutoRemove is enabled for the container")
    return policy


def after(policy: RestartPolicy, restarts: Restarts, exit_code: int, ran_seconds: float) -> Restarts | None:
    """After an end: the restarts with the one that follows, to be begun after its wait; None where there is none."""
    if restarts.stopped or policy.name == "no":
        return None
    if policy.name == "on-failure" and (exit_code == 0 or 0 < policy.retries <= restarts.number):
        return None
    last = 0 if ran_seconds >= GOOD_RUN_SECONDS else restarts.wait_milliseconds
    wait = min(last * 2 or FIRST_WAIT_MILLISECONDS, LONGEST_WAIT_MILLISECONDS)
    return Restarts(restarts.number + 1, wait)


def at_boot(policy: RestartPolicy, restarts: Restarts, *, was_started: bool) -> bool:
    """Whether a container is started with the host. ``was_started``: ever."""
    if policy.name == "unless-stopped":
        return was_started and restarts.stopped != BY_HAND
    return was_started and policy.name == "always"
