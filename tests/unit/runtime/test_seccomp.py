"""Profiles in Docker's format become OCI's, by architecture and capability; filters are compiled once."""

from __future__ import annotations

import base64
import os

import pytest

from cais.errors import Corrupt
from cais.runtime import seccomp, seccomp_filter

PROFILE = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
    ],
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW", "args": []},
        {"names": ["close"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {"names": ["future"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
        {
            "names": ["personality"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 8, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
        },
    ],
}


def allowed(result):
    return {name for rule in result["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}


def test_conditions():
    plain = seccomp.convert(PROFILE, frozenset(), "x86_64")
    assert plain["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert plain["defaultErrnoRet"] == 38
    assert allowed(plain) == {"read", "write", "close", "arch_prctl", "ptrace", "personality"}
    assert {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1} in plain["syscalls"]
    mighty = seccomp.convert(PROFILE, frozenset(("CAP_SYS_ADMIN",)), "aarch64")
    assert mighty["architectures"][0] == "SCMP_ARCH_AARCH64"
    assert "mount" in allowed(mighty) and "arch_prctl" not in allowed(mighty)


def test_what_is_no_profile_is_said(tmp_path):
    (tmp_path / "profile").write_text("[")
    with pytest.raises(Corrupt, match="seccomp profile"):
        seccomp.load(str(tmp_path / "profile"), ())


def test_a_filter_is_compiled_once_and_does_what_the_profile_says(tmp_path, in_child):
    profile = seccomp.convert(
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64" if os.uname().machine == "x86_64" else "SCMP_ARCH_AARCH64"],
            "syscalls": [{"names": ["mkdirat", "mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
        },
        frozenset(),
        os.uname().machine,
    )
    annotation = seccomp_filter.annotation(profile, str(tmp_path / "filters"))
    if not annotation:
        pytest.skip("needs libseccomp2")
    (kept,) = (tmp_path / "filters").iterdir()
    stamp = kept.stat().st_mtime_ns
    assert seccomp_filter.annotation(profile, str(tmp_path / "filters")) == annotation
    assert kept.stat().st_mtime_ns == stamp
    program = base64.b64decode(kept.read_bytes(), validate=True)
    for damaged in (b"", bytes(len(program))):  # the host went down
        kept.write_bytes(damaged)
        assert seccomp_filter.annotation(profile, str(tmp_path / "filters")) == annotation

    def action():
        import ctypes

        class Program(ctypes.Structure):
            _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

        libc = ctypes.CDLL(None, use_errno=True)
        assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
        value = Program(len(program) // 8, program)
        assert libc.prctl(22, 2, ctypes.byref(value), 0, 0) == 0, ctypes.get_errno()  # PR_SET_SECCOMP
        try:
            os.mkdir(tmp_path / "made")
        except OSError as error:
            return error.errno

    assert in_child(action) == "95"


def test_a_profile_with_an_action_we_do_not_know_is_left_to_the_runtime(tmp_path):
    assert seccomp_filter.annotation({"defaultAction": "SCMP_ACT_NOTIFY", "syscalls": []}, str(tmp_path)) == {}
