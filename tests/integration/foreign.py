"""A program of another architecture, small enough to be written by hand, and what a kernel needs to run it."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

QEMU = "qemu-aarch64-static"
_TABLE = "/proc/sys/fs/binfmt_misc"
_ADDRESS = 0x400000
DOCKERFILE = """FROM scratch AS program
COPY program /program
FROM program
RUN ["/program"]
"""


def program() -> bytes:
    """A static ELF for arm64 that says ``made on arm64`` and makes the directory ``/made``."""
    said, path = b"made on arm64\n", b"/made\0"
    number_of_instructions = 13
    text_at = 64 + 56
    said_at = text_at + 4 * number_of_instructions
    path_at = said_at + len(said)

    def move(register: int, value: int) -> int:
        return 0xD2800000 | value << 5 | register

    def address(register: int, at: int, index: int) -> int:
        offset = at - (text_at + 4 * index)
        return 0x10000000 | (offset & 3) << 29 | (offset >> 2) << 5 | register

    call = 0xD4000001
    code = [
        move(0, 1), address(1, said_at, 1), move(2, len(said)), move(8, 64), call,  # write
        0x92800000 | 99 << 5, address(1, path_at, 6), move(2, 0o755), move(8, 34), call,  # mkdirat(-100, ..)
        move(0, 0), move(8, 93), call,  # exit
    ]  # fmt: skip
    assert len(code) == number_of_instructions
    body = struct.pack(f"<{len(code)}I", *code) + said + path
    size = text_at + len(body)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 183, 1, _ADDRESS + text_at, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x1000) + body


@contextmanager
def handler(flags: str) -> Iterator[str]:
    """A handler of arm64 programs with ``flags`` in the kernel of this machine; its absence in words, else ""."""
    qemu = shutil.which(QEMU)
    if qemu is None:
        yield f"needs {QEMU} (package qemu-user-static)"
        return
    name = f"cais-test-{flags or 'none'}"
    magic = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
    mask = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
    shown = os.path.exists(f"{_TABLE}/register")
    if not shown:
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", _TABLE], capture_output=True, check=False)
    try:
        try:
            with open(f"{_TABLE}/register", "w") as file:
                file.write(f":{name}:M::{magic}:{mask}:{qemu}:{flags}")
        except OSError as error:
            yield f"no handler can be registered with this kernel: {error}"
            return
        try:
            yield ""
        finally:
            with open(os.path.join(_TABLE, name), "w") as file:
                file.write("-1")
    finally:
        if not shown:
            subprocess.run(["umount", _TABLE], capture_output=True, check=False)
