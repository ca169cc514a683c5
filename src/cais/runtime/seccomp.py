"""Seccomp: the installed profile (the format that Docker and Podman share) as the OCI spec's ``linux.seccomp``."""

from __future__ import annotations

import os

from cais.errors import Corrupt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

# Where distributions put the profile (Debian: golang-github-containers-common); an administrator's own comes first.
PATHS = ("/etc/containers/seccomp.json", "/usr/share/containers/seccomp.json")
_LIMIT_BYTES = 4 << 20

# Machine names of the kernel: (seccomp architecture, name in the profile's conditions).
_ARCHITECTURES = {
    "x86_64": ("SCMP_ARCH_X86_64", "amd64"),
    "aarch64": ("SCMP_ARCH_AARCH64", "arm64"),
    "armv7l": ("SCMP_ARCH_ARM", "arm"),
    "i686": ("SCMP_ARCH_X86", "x86"),
    "ppc64le": ("SCMP_ARCH_PPC64LE", "ppc64le"),
    "riscv64": ("SCMP_ARCH_RISCV64", "riscv64"),
    "s390x": ("SCMP_ARCH_S390X", "s390x"),
}


def installed_profile() -> str:
    """The path of the profile of this host, or ""."""
    for path in PATHS:
        if os.path.exists(path):
            return path
    return ""


def load(path: str, capabilities: Iterable[str], machine: str | None = None) -> dict[str, Any]:
    """The profile at ``path`` for a process with these capabilities on ``machine``. Raises Corrupt."""
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise Corrupt(f"cannot read the seccomp profile {path}: {error.strerror}")
    return read(data, capabilities, machine, name=path)


def read(data: bytes, capabilities: Iterable[str], machine: str | None = None, name: str = "") -> dict[str, Any]:
    """As ``load``, of the profile's text. Raises Corrupt."""
    from cais.spec.encoding import decode_object

    profile = decode_object(data, f"seccomp profile {name}".strip(), _LIMIT_BYTES)
    return convert(profile, frozenset(capabilities), machine or os.uname().machine)


def convert(profile: dict[str, Any], capabilities: frozenset[str], machine: str) -> dict[str, Any]:
    """Pure: keeps the rules whose conditions hold."""
    native, name = _ARCHITECTURES.get(machine, ("", machine))
    result: dict[str, Any] = {"defaultAction": profile.get("defaultAction", "SCMP_ACT_ERRNO")}
    if profile.get("defaultErrnoRet") is not None and result["defaultAction"] == "SCMP_ACT_ERRNO":
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    architectures = list(profile.get("architectures") or ())
    for entry in profile.get("archMap") or ():
        if entry.get("architecture") == native:
            architectures = [native, *(entry.get("subArchitectures") or ())]
    if architectures:
        result["architectures"] = architectures
    rules: list[dict[str, Any]] = []
    merged: dict[tuple[str, int | None], list[str]] = {}
    for rule in profile.get("syscalls") or ():
        if not _holds(rule, capabilities, name):
            continue
        names = list(rule.get("names") or ([rule["name"]] if rule.get("name") else ()))
        action, code = rule.get("action", "SCMP_ACT_ALLOW"), rule.get("errnoRet")
        if not rule.get("args"):
            merged.setdefault((action, code), []).extend(names)
            continue
        rules.append(_rule(names, action, code, rule["args"]))
    plain = [_rule(names, action, code, None) for (action, code), names in merged.items() if names]
    result["syscalls"] = plain + rules
    return result


def _rule(names: list[str], action: str, code: int | None, arguments: Any) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": names, "action": action}
    if code is not None and action == "SCMP_ACT_ERRNO":
        rule["errnoRet"] = code
    if arguments:
        rule["args"] = [
            {key: item[key] for key in ("index", "value", "valueTwo", "op") if key in item} for item in arguments
        ]
    return rule


def _holds(rule: dict[str, Any], capabilities: frozenset[str], architecture: str) -> bool:
    includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
    if includes.get("arches") and architecture not in includes["arches"]:
        return False
    if architecture in (excludes.get("arches") or ()):
        return False
    if any(capability not in capabilities for capability in includes.get("caps") or ()):
        return False
    if any(capability in capabilities for capability in excludes.get("caps") or ()):
        return False
    return not (includes.get("minKernel") and not _kernel_is(includes["minKernel"]))


def _kernel_is(wanted: str) -> bool:
    def numbers(text: str) -> tuple[int, ...]:
        parts = text.split("-")[0].split(".")[:2]
        return tuple(int("".join(filter(str.isdigit, part)) or "0") for part in parts)

    return numbers(os.uname().release) >= numbers(wanted)
