"""What stands between a container and its host, as values: security, namespaces, devices. Pure; parts of a plan."""

from __future__ import annotations

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


class Security(NamedTuple):
    """``options`` are the values of ``--security-opt`` as they were given, but for those that stand here.

    ``seccomp_profile`` is the text of a profile; ``apparmor`` a profile's name, ``unconfined`` or ""; ``labels`` are
    SELinux's, ``user:...``, ``type:...``; ``unmasked``: /proc and /sys have no hidden or read-only parts.
    """

    privileged: bool = False
    options: tuple[str, ...] = ()
    seccomp_profile: str = ""
    apparmor: str = ""
    labels: tuple[str, ...] = ()
    unmasked: bool = False

    def to_json(self) -> dict[str, Any]:
        """Only what is not the default."""
        return {key: item for key, item in self._asdict().items() if item != self._field_defaults[key]}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Security:
        known: dict[str, Any] = {key: tuple(item) if isinstance(item, list) else item for key, item in value.items()}
        return cls(**{key: item for key, item in known.items() if key in cls._fields})


CONTAINER = "container:"


class Namespaces(NamedTuple):
    """Docker's modes; "" is the default, which is a namespace of its own. ``container:<id>`` is that container's."""

    pid: str = ""
    ipc: str = ""
    uts: str = ""
    user: str = ""
    cgroup: str = ""

    def to_json(self) -> dict[str, Any]:
        """Only what is not the default."""
        return {key: item for key, item in self._asdict().items() if item}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Namespaces:
        return cls(**{key: str(item) for key, item in value.items() if key in cls._fields})


def joined(mode: str) -> str:
    """The id, or the name, of the container that a mode names, or ""."""
    return mode.removeprefix(CONTAINER) if mode.startswith(CONTAINER) else ""


class Device(NamedTuple):
    """A node of the host, or a directory with some, and where it is inside. ``access``: some of ``rwm``."""

    source: str
    target: str
    access: str = "rwm"


class Request(NamedTuple):
    """Docker's DeviceRequest. ``number`` -1 is all of them."""

    driver: str = ""
    number: int = 0
    ids: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    options: tuple[str, ...] = ()

    @property
    def is_gpu(self) -> bool:
        return "gpu" in self.capabilities


class Devices(NamedTuple):
    """``rules`` are ``c 1:3 rwm``, added to those of the devices. ``requests``: CDI devices and GPUs."""

    nodes: tuple[Device, ...] = ()
    rules: tuple[str, ...] = ()
    requests: tuple[Request, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Only what is not the default."""
        value: dict[str, Any] = {
            "nodes": [tuple(item) for item in self.nodes],
            "rules": list(self.rules),
            "requests": [item._asdict() for item in self.requests],
        }
        return {key: item for key, item in value.items() if item}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Devices:
        requests: Iterable[dict[str, Any]] = (
            {key: tuple(part) if isinstance(part, list) else part for key, part in item.items()}
            for item in value.get("requests", ())
        )
        return cls(
            tuple(Device(*item) for item in value.get("nodes", ())),
            tuple(value.get("rules", ())),
            tuple(Request(**item) for item in requests),
        )
