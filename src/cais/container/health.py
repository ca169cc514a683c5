"""Health checks: what is checked and how often, from the image and the flags; what a result makes of a status. Pure.

The rules and words are Docker's. Times are in nanoseconds where they come from an image or a flag, 0 for the default.
"""

from __future__ import annotations

from collections.abc import Mapping

from cais.errors import Invalid
from cais.spec import timestamp
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.container.options import RunOptions

STARTING, HEALTHY, UNHEALTHY, NONE = "starting", "healthy", "unhealthy", "none"
OUTPUT_LIMIT_BYTES = 4096
LOG_ENTRIES = 5
# What is noted of a check that could not run or took too long.
NO_EXIT_CODE = -1
_SECOND = 1_000_000_000
_SHORTEST = 1_000_000
_KEYS = ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")


class HealthCheck(NamedTuple):
    """``test``: ``("CMD", program, ...)``, ``("CMD-SHELL", command)`` or ``("NONE",)``; empty: nothing was said."""

    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0
    shell: tuple[str, ...] = ("/bin/sh", "-c")

    def to_json(self) -> dict[str, Any]:
        return {**self._asdict(), "test": list(self.test), "shell": list(self.shell)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HealthCheck:
        return cls(**{**value, "test": tuple(value["test"]), "shell": tuple(value["shell"])})

    @property
    def args(self) -> tuple[str, ...]:
        """What is run, or () where nothing is."""
        kind = self.test[0] if self.test else ""
        if kind == "CMD":
            return self.test[1:]
        return (*self.shell, *self.test[1:]) if kind == "CMD-SHELL" else ()

    @property
    def timeout_nanoseconds(self) -> int:
        return self.timeout or 30 * _SECOND

    @property
    def start_period_seconds(self) -> float:
        return self.start_period / _SECOND

    @property
    def allowed_failures(self) -> int:
        """With so many in a row it is unhealthy."""
        return self.retries or 3

    def wait_seconds(self, status: str, since_start_seconds: float) -> float:
        """How long until the next check."""
        if status == STARTING and since_start_seconds < self.start_period_seconds:
            return (self.start_interval or 5 * _SECOND) / _SECOND
        return (self.interval or 30 * _SECOND) / _SECOND


class Result(NamedTuple):
    """Of one check. Times are in seconds since 1970."""

    start: float
    end: float
    exit_code: int
    output: str


class Health(NamedTuple):
    """What the checks have found so far; ``log`` has the newest result last."""

    status: str = STARTING
    failing_streak: int = 0
    log: tuple[Result, ...] = ()

    def begun(self) -> Health:
        """With a new start of the container: the results of its last run are still there to be read."""
        return Health(STARTING, 0, self.log)

    def ended(self) -> Health:
        """With the container's end: what is not checked is not healthy."""
        return self._replace(status=UNHEALTHY)

    def after(self, check: HealthCheck, result: Result, started: float) -> Health:
        """``started``: when the container was, in seconds since 1970."""
        log = (*self.log[-(LOG_ENTRIES - 1) :], result)
        if result.exit_code == 0:
            return Health(HEALTHY, 0, log)
        if self.status == STARTING and result.start - started < check.start_period_seconds:
            return self._replace(log=log)
        streak = self.failing_streak + 1
        return Health(UNHEALTHY if streak >= check.allowed_failures else self.status, streak, log)


def output_text(data: bytes, *, more: bool) -> str:
    """What is kept of a check's output. ``more``: it had written more than this."""
    return data.decode("utf-8", "replace") + ("..." if more else "")


def check_for(run: Mapping[str, Any], wanted: RunOptions) -> HealthCheck:
    """The check of a new container. ``run``: the image's ``config`` object. Raises Invalid."""
    shell = tuple(run.get("Shell") or ()) or HealthCheck().shell
    said = {
        "interval": wanted.health_interval_nanoseconds,
        "timeout": wanted.health_timeout_nanoseconds,
        "retries": wanted.health_retries,
        "start-period": wanted.health_start_period_nanoseconds,
        "start-interval": wanted.health_start_interval_nanoseconds,
    }
    if wanted.no_healthcheck:
        if wanted.health_cmd or any(said.values()):
            raise Invalid("--no-healthcheck conflicts with --health-* options", exit_code=125)
        return HealthCheck(("NONE",), shell=shell)
    for name, value in said.items():
        if value < 0:
            raise Invalid(f"--health-{name} cannot be negative", exit_code=125)
    image = run.get("Healthcheck")
    known = image if isinstance(image, dict) else {}
    test = ("CMD-SHELL", wanted.health_cmd) if wanted.health_cmd else _strings(known.get("Test"))
    interval, timeout, start_period, start_interval, retries = (
        said[_flag(key)] or _whole(known.get(key)) for key in _KEYS
    )
    check = HealthCheck(test, interval, timeout, start_period, start_interval, retries, shell)
    for name, time in (
        ("Interval", interval),
        ("Timeout", timeout),
        ("StartPeriod", start_period),
        ("StartInterval", start_interval),
    ):
        if 0 < time < _SHORTEST:
            raise Invalid(f"{name} in Healthcheck cannot be less than 1ms", exit_code=125)
    return check


def add_to_inspect(shown: dict[str, Any], check: HealthCheck, health: Health | None) -> None:
    """Puts what is checked, and what was found, where Docker's ``inspect`` has it."""
    config = config_json(check)
    if config is not None:
        shown["Config"]["Healthcheck"] = config
    if health is not None:
        shown["State"]["Health"] = {
            "Status": health.status,
            "FailingStreak": health.failing_streak,
            "Log": [
                {
                    "Start": timestamp.format(result.start),
                    "End": timestamp.format(result.end),
                    "ExitCode": result.exit_code,
                    "Output": result.output,
                }
                for result in health.log
            ],
        }


def config_json(check: HealthCheck) -> dict[str, Any] | None:
    """``Config.Healthcheck`` as ``inspect`` shows it."""
    values = (check.interval, check.timeout, check.start_period, check.start_interval, check.retries)
    if not check.test and not any(values):
        return None
    shown: dict[str, Any] = {"Test": list(check.test)} if check.test else {}
    shown.update((key, value) for key, value in zip(_KEYS, values, strict=True) if value)
    return shown


def _flag(key: str) -> str:
    return {"StartPeriod": "start-period", "StartInterval": "start-interval"}.get(key, key.lower())


def _strings(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _whole(value: Any) -> int:
    """A number of an image that anybody may have made."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 63 else 0
