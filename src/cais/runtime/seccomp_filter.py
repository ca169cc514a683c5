"""Seccomp profiles compiled once: crun takes the finished filter, where it would else compile it for every start.

Compiling Docker's profile takes libseccomp three times as long as crun takes for all the rest. The filter is made by
the same libseccomp, and is kept in the root directory, as crun takes it, under a name made of all that it depends on.
"""

from __future__ import annotations

import os

from cais.host.files import write_atomically
from cais.spec.digest import Digest
from cais.spec.encoding import encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from typing import Any

ANNOTATION = "run.oci.seccomp_bpf_data"
_LIBRARY = "libseccomp.so.2"
_ACTIONS = {
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_KILL": 0,
    "SCMP_ACT_KILL_THREAD": 0,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
}
_EPERM = 1
_OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
# A filter larger than this the kernel refuses (BPF_MAXINSNS times eight bytes).
_LIMIT_BYTES = 4096 * 8


class _NotCompiled(Exception):
    pass


def annotation(profile: dict[str, Any], directory: str) -> dict[str, str]:
    """The annotation that hands crun the filter of ``profile`` (OCI's ``linux.seccomp``), or nothing where it cannot
    be made; crun compiles the profile itself then. ``directory`` keeps filters."""
    name = Digest.of(encode([profile, os.uname().machine])).hex[:32]
    path = os.path.join(directory, f"{name}.base64")
    try:
        with open(path, "rb") as file:
            kept = file.read()
        # After the host went down, a file that was just written may be empty, or zeros.
        if kept and b"\0" not in kept:
            return {ANNOTATION: kept.decode("ascii")}
    except FileNotFoundError:
        pass
    import binascii

    try:
        data = compile_filter(profile)
        if not data or len(data) % 8 or len(data) > _LIMIT_BYTES:
            return {}
        text = binascii.b2a_base64(data, newline=False)
        os.makedirs(directory, 0o700, exist_ok=True)
        write_atomically(path, text)
        return {ANNOTATION: text.decode("ascii")}
    except (_NotCompiled, OSError, AttributeError):
        return {}


def compile_filter(profile: dict[str, Any]) -> bytes:
    """The BPF program of ``profile``, by libseccomp. Raises OSError, AttributeError without it, _NotCompiled."""
    import ctypes

    library = ctypes.CDLL(_LIBRARY)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = (ctypes.c_uint32,)
    library.seccomp_arch_resolve_name.restype = ctypes.c_uint32
    context = library.seccomp_init(_action(profile.get("defaultAction"), profile.get("defaultErrnoRet")))
    if not context:
        raise _NotCompiled
    handle = ctypes.c_void_p(context)
    try:
        for architecture in profile.get("architectures") or ():
            token = library.seccomp_arch_resolve_name(architecture.removeprefix("SCMP_ARCH_").lower().encode())
            if not token:
                raise _NotCompiled
            if library.seccomp_arch_add(handle, ctypes.c_uint32(token)) not in (0, -17):  # EEXIST: the native one
                raise _NotCompiled
        default = _action(profile.get("defaultAction"), profile.get("defaultErrnoRet"))
        for rule in profile.get("syscalls") or ():
            action = _action(rule.get("action"), rule.get("errnoRet"))
            if action != default:
                _add(library, handle, ctypes.c_uint32(action), rule)
        return _export(library, handle)
    finally:
        library.seccomp_release(handle)


def _add(library: ctypes.CDLL, handle: Any, action: Any, rule: dict[str, Any]) -> None:
    import ctypes

    class Comparison(ctypes.Structure):
        _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))

    conditions = rule.get("args") or ()
    # The OCI spec: conditions on one argument that appear twice mean one or the other, as several rules.
    indexes = [item["index"] for item in conditions]
    sets = [[item] for item in conditions] if len(set(indexes)) != len(indexes) else [list(conditions)]
    for name in rule["names"]:
        number = library.seccomp_syscall_resolve_name(name.encode())
        if number == -1:
            continue
        for one in sets:
            values = [
                Comparison(item["index"], _OPERATORS[item["op"]], item["value"], item.get("valueTwo") or 0)
                for item in one
            ]
            array = (Comparison * max(1, len(values)))(*values)
            code = library.seccomp_rule_add_array(handle, action, number, len(values), array)
            if code != 0:
                raise _NotCompiled


def _export(library: ctypes.CDLL, handle: Any) -> bytes:
    descriptor = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    try:
        if library.seccomp_export_bpf(handle, descriptor) != 0:
            raise _NotCompiled
        size = os.lseek(descriptor, 0, os.SEEK_END)
        return os.pread(descriptor, size, 0)
    finally:
        os.close(descriptor)


def _action(name: Any, code: Any) -> int:
    if name not in _ACTIONS:
        raise _NotCompiled
    value = _ACTIONS[name]
    if name == "SCMP_ACT_ERRNO":
        value |= _EPERM if code is None else int(code)
    return value
