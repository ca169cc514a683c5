"""Handlers of programs of other architectures, as the kernel shows them."""

from __future__ import annotations

import os
import shutil

import pytest

from cais.host import binfmt
from cais.host.binfmt import Handler, NotRunnable, find, is_native

ARM64 = """enabled
interpreter /usr/bin/qemu-aarch64-static
flags: OCF
offset 0
magic 7f454c460201010000000000000000000200b700
mask ffffffffffffff00fffffffffffffffffeffffff
"""
S390X = """enabled
interpreter /usr/libexec/qemu-binfmt/s390x-binfmt-P
flags: P
offset 0
magic 7f454c4602020100000000000000000000020016
mask ffffffffffffff00fffffffffffffffffffeffff
"""
JAR = "enabled\ninterpreter /usr/bin/jexec\nflags: \noffset 0\nmagic 504b0304\n"
PYTHON = "enabled\ninterpreter /usr/bin/python3\nflags: \nextension .pyc\n"


@pytest.fixture
def directory(tmp_path):
    """What ``/proc/sys/fs/binfmt_misc`` looks like."""
    for name, text in {
        "status": "enabled\n", "register": "", "jar": JAR, "python": PYTHON, "qemu-aarch64": ARM64, "qemu-s390x": S390X
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    return tmp_path


class TestFind:
    def test_by_magic_and_mask(self, directory):
        assert find("arm64", str(directory)) == Handler("qemu-aarch64", "/usr/bin/qemu-aarch64-static", True)
        assert find("s390x", str(directory)) == Handler("qemu-s390x", "/usr/libexec/qemu-binfmt/s390x-binfmt-P", False)

    @pytest.mark.parametrize("architecture", ["riscv64", "arm", "ppc64le", "amd64", "what", ""])
    def test_none_for_others(self, directory, architecture):
        assert find(architecture, str(directory)) is None

    def test_a_disabled_one_does_not_count(self, directory):
        (directory / "qemu-aarch64").write_text(ARM64.replace("enabled", "disabled"))
        assert find("arm64", str(directory)) is None

    def test_none_counts_where_all_are_disabled(self, directory):
        (directory / "status").write_text("disabled\n")
        assert find("arm64", str(directory)) is None

    def test_where_there_is_no_directory(self, tmp_path):
        assert find("arm64", str(tmp_path / "none")) is None

    def test_without_a_mask_all_of_the_magic_counts(self, directory):
        without = "\n".join(ARM64.splitlines()[:-1]) + "\n"
        (directory / "qemu-aarch64").write_text(without)
        assert find("arm64", str(directory)) is not None
        (directory / "qemu-aarch64").write_text(without.replace("010100", "0101ff"))
        assert find("arm64", str(directory)) is None

    def test_the_architectures_headers_are_those_of_programs(self):
        # The test's own interpreter: its first bytes are what we say of its architecture, but for the kind of file.
        machine = {"x86_64": "amd64", "aarch64": "arm64", "s390x": "s390x", "ppc64le": "ppc64le", "riscv64": "riscv64"}
        with open("/proc/self/exe", "rb") as file:
            data = file.read(20)
        header = binfmt._header(machine[os.uname().machine])
        assert (data[:7], data[18:20]) == (header[:7], header[18:20])


class TestNative:
    def test_the_same_and_the_older(self):
        assert is_native("amd64", "amd64") and is_native("386", "amd64") and is_native("arm", "arm64")
        assert not is_native("arm64", "amd64") and not is_native("amd64", "386")

    def test_nothing_is_asked_of_the_kernel_for_them(self, monkeypatch):
        monkeypatch.setattr(binfmt, "find", None)
        binfmt.need(["amd64", "386"], "amd64")


class TestNeed:
    def test_what_to_install(self):
        with pytest.raises(NotRunnable, match=r"this host \(amd64\) cannot run programs of sparc64") as raised:
            binfmt.need(["386", "sparc64"], "amd64")
        assert raised.value.architecture == "sparc64" and "BUILDPLATFORM" in raised.value.hint


class TestStatic:
    def test_programs(self, tmp_path):
        busybox = shutil.which("busybox")
        if busybox is None:
            pytest.skip("needs busybox-static")
        assert binfmt._is_static(busybox)
        assert not binfmt._is_static("/bin/sh"), "it has a loader"
        assert not binfmt._is_static("/etc/passwd") and not binfmt._is_static(str(tmp_path / "none"))
        (tmp_path / "cut").write_bytes(b"\x7fELF\x02\x01")
        assert not binfmt._is_static(str(tmp_path / "cut"))

    def test_one_without_the_flag_is_shown_in_the_root_if_it_is_static(self, monkeypatch):
        busybox = shutil.which("busybox")
        if busybox is None:
            pytest.skip("needs busybox-static")
        for interpreter, fixed, shown in ((busybox, False, busybox), ("/bin/sh", True, "")):
            found = Handler("x", interpreter, fixed)
            monkeypatch.setattr(binfmt, "find", {"arm64": found}.get)
            assert binfmt.shown_interpreter("arm64") == shown
        monkeypatch.setattr(binfmt, "find", lambda _: Handler("x", "/bin/sh", False))
        with pytest.raises(NotRunnable, match="no static program"):
            binfmt.shown_interpreter("arm64")
