"""``--log-driver`` and ``--log-opt``: where a container's output goes, and how much of it is kept. Pure."""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

# What there is. ``json-file`` and ``local`` are files in one format here, conmon's; they differ in their defaults.
DRIVERS = ("json-file", "local", "journald", "none")
_DOCKER_S_OTHERS = frozenset(
    ("awslogs", "etwlogs", "fluentd", "gcplogs", "gelf", "splunk", "syslog"),
)
_ATTRIBUTES = frozenset(("labels", "labels-regex", "env", "env-regex", "tag"))
_COMMON = frozenset(("mode", "max-buffer-size"))
_FILE = _ATTRIBUTES | _COMMON | {"max-size", "max-file", "compress"}
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "p": 10**15}
_LOCAL_BYTES, _LOCAL_FILES = 20 * 10**6, 5
_TRUE = frozenset(("1", "t", "T", "TRUE", "true", "True"))
_FALSE = frozenset(("0", "f", "F", "FALSE", "false", "False"))


class LogOptions(NamedTuple):
    """``options`` as they were given. ``max_bytes`` is the size of one file, 0 without a limit; ``files`` how many."""

    driver: str = "json-file"
    options: Mapping[str, str] = {}
    max_bytes: int = 0
    files: int = 1
    compress: bool = False

    def to_json(self) -> dict[str, Any]:
        return self._asdict()

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> LogOptions:
        return cls(**value)

    @property
    def has_file(self) -> bool:
        return self.driver in ("json-file", "local")


# Without options.
JSON_FILE = LogOptions()


def parse(driver: str, options: Sequence[str]) -> LogOptions:
    """Raises Invalid with Docker's words."""
    driver = driver or "json-file"
    given = {key: value for key, _, value in (item.partition("=") for item in options)}
    _check_driver(driver)
    if driver == "none":
        if given:
            raise Invalid("invalid logging opts for driver none", exit_code=125)
        return LogOptions(driver)
    known = _FILE if driver != "journald" else _ATTRIBUTES | _COMMON
    for key in given:
        if key not in known:
            where = f"for log driver {driver}" if driver == "local" else f"for {driver} log driver"
            raise Invalid(f"unknown log opt '{key}' {where}", exit_code=125)
    _check_mode(given)
    if driver == "journald":
        return LogOptions(driver, given)
    try:
        return _of_file(driver, given)
    except Invalid as error:
        raise Invalid(f"failed to initialize logging driver: {error.message}", exit_code=125)


def _check_driver(driver: str) -> None:
    if driver in DRIVERS:
        return
    hint = f"The log drivers are {', '.join(DRIVERS[:-1])} and {DRIVERS[-1]}."
    if driver in _DOCKER_S_OTHERS:
        raise Invalid(
            f"failed to initialize logging driver: {driver!r} is not supported by cais", hint=hint, exit_code=125
        )
    raise Invalid(f"logger: no log driver named '{driver}' is registered", hint=hint, exit_code=125)


def _check_mode(given: Mapping[str, str]) -> None:
    mode = given.get("mode", "blocking")
    if mode not in ("blocking", "non-blocking"):
        raise Invalid(f"logger: logging mode not supported: {mode}", exit_code=125)
    if "max-buffer-size" in given:
        if mode != "non-blocking":
            message = "logger: max-buffer-size option is only supported with 'mode=non-blocking'"
            raise Invalid(message, exit_code=125)
        try:
            _size(given["max-buffer-size"])
        except Invalid as error:
            raise Invalid(f"error parsing option max-buffer-size: {error.message}", exit_code=125)


def _of_file(driver: str, given: Mapping[str, str]) -> LogOptions:
    is_local = driver == "local"
    size = _size(given["max-size"]) if "max-size" in given else _LOCAL_BYTES if is_local else 0
    if size <= 0 and "max-size" in given:
        raise Invalid("max-size must be a positive number")
    files = _number(given["max-file"]) if "max-file" in given else _LOCAL_FILES if is_local else 1
    if files < 1:
        raise Invalid("max-file cannot be less than 1")
    if "compress" in given and given["compress"] not in _TRUE | _FALSE:
        raise Invalid(f'strconv.ParseBool: parsing "{given["compress"]}": invalid syntax')
    compress = given["compress"] in _TRUE if "compress" in given else is_local and files > 1
    if compress and (files < 2 or not size):
        raise Invalid("compress cannot be true when max-file is less than 2 or max-size is not set")
    for key in ("labels-regex", "env-regex"):
        if key in given:
            _check_pattern(given[key])
    return LogOptions(driver, given, size, files, compress)


def _check_pattern(text: str) -> None:
    import re

    try:
        re.compile(text)
    except re.error as error:
        raise Invalid(f"error parsing regexp: {error}: `{text}`")


def _size(text: str) -> int:
    """Docker's sizes of logs: powers of 1000."""
    lowered = text.strip().lower().removesuffix("b").removesuffix("i")
    unit = lowered[-1:] if not lowered[-1:].isdigit() else ""
    try:
        number = float(lowered.removesuffix(unit))
        if not lowered[:1].isdigit() or unit not in _UNITS:
            raise ValueError
    except ValueError:
        raise Invalid(f"invalid size: '{text}'")
    return int(number * _UNITS[unit])


def _number(text: str) -> int:
    if not text.isascii() or not text.lstrip("+-").isdigit():
        raise Invalid(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def attributes(log: LogOptions, labels: Mapping[str, str], env: Sequence[str], tag: str) -> dict[str, str]:
    """What ``logs --details`` shows: the labels and variables that the options name. ``tag``: what that stands for."""
    found: dict[str, str] = {}
    variables = {key: value for key, _, value in (item.partition("=") for item in env)}
    for key, values in (("labels", labels), ("env", variables)):
        for name in filter(None, log.options.get(key, "").split(",")):
            if name in values:
                found[name] = values[name]
        pattern = log.options.get(f"{key}-regex")
        if pattern:
            import re

            found.update((name, value) for name, value in values.items() if re.search(pattern, name))
    if log.options.get("tag"):
        found["tag"] = tag
    return found


def check_journald() -> None:
    """Raises Unavailable where this host has no journal to write to."""
    import os

    from cais.errors import Unavailable

    if not os.path.exists("/run/systemd/journal/socket"):
        raise Unavailable(
            "failed to initialize logging driver: journald is not enabled on this host",
            hint="Use the log driver json-file or local.",
            exit_code=125,
        )
