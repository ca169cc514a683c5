"""What a container may do: capabilities, ``--security-opt``, ``--privileged``, sysctls. Pure but for profile files."""

from __future__ import annotations

from collections.abc import Sequence

from cais.container.isolation import Security
from cais.container.options import RunOptions
from cais.errors import Invalid, Unsupported
from cais.runtime import spec
from cais.spec.encoding import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_PROFILE_LIMIT_BYTES = 4 << 20
# Settings that belong to a namespace, as Docker's client knows them.
_SYSCTLS = frozenset(
    ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax",
     "kernel.shmmni", "kernel.shm_rmid_forced")
)  # fmt: skip
_LABEL_KEYS = frozenset(("user", "role", "type", "level", "filetype", "disable", "nested"))


def decide(wanted: RunOptions, *, network: str, ipc: str) -> dict[str, Any]:
    """The fields of a plan that say what may be done. Raises Invalid, NotFound, Unsupported with Docker's words."""
    _refuse_what_is_not(wanted)
    return {
        **_security(wanted),
        "capabilities": capabilities(wanted),
        "sysctls": sysctls(wanted.sysctls, network=network, ipc=ipc),
    }


def _security(wanted: RunOptions) -> dict[str, Any]:
    no_new_privileges, seccomp, profile, apparmor = False, "default", "", ""
    labels: list[str] = []
    kept: list[str] = []
    unmasked = False
    for item in wanted.security_opt:
        key, separator, value = item.partition("=" if "=" in item else ":")
        if not separator and key != "no-new-privileges":
            raise Invalid(f'Invalid --security-opt: "{item}"', exit_code=125)
        if key == "no-new-privileges" and value in ("", "true", "false"):
            no_new_privileges = value != "false"
        elif key == "seccomp" and value:
            profile = "" if value in ("unconfined", "builtin", "default") else _profile(value)
            seccomp = "profile" if profile else "default" if value == "builtin" else value
            item = f"seccomp={profile}" if profile else item
        elif key == "apparmor" and value:
            apparmor = value
        elif key == "label" and value.partition(":")[0] in _LABEL_KEYS:
            labels.append(value)
        elif key == "label":
            raise Invalid(f'Invalid --security-opt: "{item}": unknown label option {value!r}', exit_code=125)
        elif key == "systempaths" and value == "unconfined":
            unmasked = True
            continue
        else:
            raise Invalid(f'invalid --security-opt 2: "{item}"', exit_code=125)
        kept.append(item)
    if wanted.privileged:
        # As Docker: a profile of the user's own still holds.
        seccomp = "unconfined" if seccomp == "default" and not profile else seccomp
        apparmor = apparmor or "unconfined"
    decided = Security(wanted.privileged, tuple(kept), profile, apparmor, tuple(labels), unmasked or wanted.privileged)
    return {"security": decided, "no_new_privileges": no_new_privileges, "seccomp": seccomp}


def _profile(value: str) -> str:
    """The text of a profile: a file's, or the JSON itself, as Docker's API has it."""
    if value.startswith("{"):
        text = value
    else:
        try:
            with open(value, "rb") as file:
                text = file.read(_PROFILE_LIMIT_BYTES).decode("utf-8", "replace")
        except OSError as error:
            raise Invalid(f"opening seccomp profile ({value}) failed: {error.strerror}", exit_code=125)
    try:
        decoded = decode(text)
        if not isinstance(decoded, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise Invalid(f"compacting json for seccomp profile ({value}) failed: {error}", exit_code=125)
    return encode(decoded).decode()


def capabilities(wanted: RunOptions) -> tuple[str, ...]:
    """Raises Invalid for an unknown name."""
    for flag, names in (("CapAdd", wanted.cap_add), ("CapDrop", wanted.cap_drop)):
        for name in names:
            upper = name.upper() if name.upper().startswith("CAP_") else "CAP_" + name.upper()
            if upper not in spec.ALL_CAPABILITIES and name.upper() != "ALL":
                raise Invalid(f'invalid {flag}: unknown capability: "{upper}"', exit_code=125)
    if wanted.privileged:
        # As Docker: nothing can be dropped from a privileged one.
        return spec.ALL_CAPABILITIES
    return spec.capability_names(
        spec.DEFAULT_CAPABILITIES, wanted.cap_add, wanted.cap_drop, frozenset(spec.ALL_CAPABILITIES)
    )


def sysctls(values: Sequence[str], *, network: str = "", ipc: str = "") -> tuple[str, ...]:
    """``name=value`` each. Raises Invalid for a setting of the whole host, or of a namespace that is not its own."""
    for item in values:
        name, equals, _ = item.partition("=")
        if not equals or not (name in _SYSCTLS or name.startswith(("net.", "fs.mqueue."))):
            raise Invalid(
                f'invalid argument "{item}" for "--sysctl" flag: sysctl \'{item}\' is not allowed', exit_code=125
            )
        if name.startswith("net.") and network == "host":
            raise Invalid(f'sysctl "{name}" not allowed in host network namespace', exit_code=125)
        if not name.startswith("net.") and ipc == "host":
            raise Invalid(f'sysctl "{name}" is not allowed in the hosts ipc namespace', exit_code=125)
    return tuple(values)


def _refuse_what_is_not(wanted: RunOptions) -> None:
    """What has a flag, and no meaning here."""
    if wanted.isolation not in ("", "default"):
        raise Invalid(f"Invalid isolation: \"{wanted.isolation}\" - linux only supports 'default'", exit_code=125)
    if wanted.use_api_socket:
        raise Unsupported(
            "--use-api-socket is not possible: there is no daemon, and so no API socket to give to a container",
            exit_code=125,
        )
