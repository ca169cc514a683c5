"""Programs of other architectures: whether the kernel has a handler for them (binfmt_misc), and one of one's own.

A handler with the flag F has its interpreter open, and works in any root directory. One without it looks for the
interpreter where the program runs: it has to be shown there. In a user namespace of its own a process may have
handlers of its own (Linux 6.7): they end with it, and nobody else sees them.
"""

from __future__ import annotations

import os

from cais.errors import Unsupported, from_os_error
from cais.host import syscalls
from cais.host.namespaces import in_user_namespace
from cais.spec.named import NamedTuple

DIRECTORY = "/proc/sys/fs/binfmt_misc"
_BINARIES = ("/usr/bin", "/usr/local/bin", "/usr/libexec/qemu-binfmt")
# What a processor of the first runs besides its own.
_ALSO = {"amd64": ("386",), "arm64": ("arm",)}
# Architecture to (QEMU's name, bits, little endian, e_machine): System V ABI, and the architectures' supplements.
_ELF = {
    "386": ("i386", 32, True, 3),
    "amd64": ("x86_64", 64, True, 62),
    "arm": ("arm", 32, True, 40),
    "arm64": ("aarch64", 64, True, 183),
    "loong64": ("loongarch64", 64, True, 258),
    "mips": ("mips", 32, False, 8),
    "mipsle": ("mipsel", 32, True, 8),
    "mips64": ("mips64", 64, False, 8),
    "mips64le": ("mips64el", 64, True, 8),
    "ppc64": ("ppc64", 64, False, 21),
    "ppc64le": ("ppc64le", 64, True, 21),
    "riscv64": ("riscv64", 64, True, 243),
    "s390x": ("s390x", 64, False, 22),
}
_HEADER_BYTES = 256
_PT_INTERP = 3


class Handler(NamedTuple):
    """``fixed``: with the flag F."""

    name: str
    interpreter: str
    fixed: bool


class NotRunnable(Unsupported):
    """Programs of ``architecture`` do not run on this host."""

    def __init__(self, architecture: str, message: str, hint: str) -> None:
        super().__init__(message, hint=hint)
        self.architecture = architecture


def is_native(architecture: str, host: str) -> bool:
    return architecture == host or architecture in _ALSO.get(host, ())


def find(architecture: str, directory: str = DIRECTORY) -> Handler | None:
    """The enabled handler for programs of ``architecture``; None where there is none, or none can be seen."""
    header = _header(architecture)
    if not header:
        return None
    try:
        names = sorted(os.listdir(directory))
        if "status" in names and not _read(directory, "status").startswith("enabled"):
            return None
        for name in names:
            if name not in ("status", "register") and (found := _handler(name, _read(directory, name), header)):
                return found
    except OSError:
        return None
    return None


def need(architectures: list[str], host: str) -> None:
    """Makes sure that programs of ``architectures`` run here; called in a mount namespace of one's own.

    Raises NotRunnable, with what to install, for one that does not.
    """
    foreign = [item for item in architectures if not is_native(item, host)]
    if not foreign:
        return
    if not os.path.exists(os.path.join(DIRECTORY, "register")):
        _show()  # a container has often no view of what its host has
    missing = [item for item in foreign if find(item) is None]
    if missing and in_user_namespace():
        _register_own(foreign)
        missing = [item for item in foreign if find(item) is None]
    if missing:
        raise _missing(missing[0], host)
    for item in foreign:
        shown_interpreter(item)


def shown_interpreter(architecture: str) -> str:
    """What has to be shown at the same path in the root of a program; "" where nothing has. Raises NotRunnable."""
    handler = find(architecture)
    if handler is None or handler.fixed:
        return ""
    if not _is_static(handler.interpreter):
        raise NotRunnable(
            architecture,
            f"the kernel's handler {handler.name} for {architecture} has no flag F, and its interpreter "
            f"{handler.interpreter} is no static program on this host",
            f"Install the package that registers a static one (Debian: {_PACKAGES}).",
        )
    return handler.interpreter


_PACKAGES = "apt install qemu-user-static binfmt-support"


def _missing(architecture: str, host: str) -> NotRunnable:
    name = _ELF[architecture][0] if architecture in _ELF else ""
    hint = f"Install QEMU's user emulation (Debian: {_PACKAGES})"
    configuration = f"/usr/lib/binfmt.d/qemu-{name}.conf"
    if name and os.path.exists(configuration):
        hint = f"QEMU is here, and not registered. As root: cat {configuration} > {DIRECTORY}/register"
    elif not name:
        hint = "Cais knows no emulator of it"
    return NotRunnable(
        architecture,
        f"this host ({host}) cannot run programs of {architecture}: the kernel has no handler for them (binfmt_misc)",
        f"{hint}. Steps without RUN, and stages that say FROM --platform=$BUILDPLATFORM, need none.",
    )


def _header(architecture: str) -> bytes:
    """The first bytes of an executable file of the architecture; b"" for one that is not known."""
    if architecture not in _ELF:
        return b""
    _, bits, little, machine = _ELF[architecture]
    start = bytes((0x7F, 0x45, 0x4C, 0x46, 2 if bits == 64 else 1, 1 if little else 2, 1)) + bytes(9)
    return start + b"".join(number.to_bytes(2, "little" if little else "big") for number in (2, machine))


def _read(directory: str, name: str) -> str:
    with open(os.path.join(directory, name), encoding="utf-8", errors="surrogateescape") as file:
        return file.read(1 << 16)


def _handler(name: str, text: str, header: bytes) -> Handler | None:
    """``text`` is what the kernel shows of a handler (Documentation/admin-guide/binfmt-misc.rst)."""
    lines = text.splitlines()
    values = dict(line.split(" ", 1) for line in lines if " " in line)
    if "enabled" not in lines or "magic" not in values or "interpreter" not in values:
        return None
    magic, offset = bytes.fromhex(values["magic"]), int(values.get("offset", 0))
    mask = bytes.fromhex(values["mask"]) if "mask" in values else b"\xff" * len(magic)
    file = header.ljust(_HEADER_BYTES, b"\0")[offset : offset + len(magic)]
    if len(file) < len(magic) or any((a ^ b) & c for a, b, c in zip(file, magic, mask, strict=False)):
        return None
    return Handler(name, values["interpreter"], "F" in values.get("flags:", ""))


def _show() -> None:
    try:
        syscalls.mount("binfmt_misc", DIRECTORY, "binfmt_misc", syscalls.MS_NOSUID | syscalls.MS_NODEV)
    except OSError:
        pass  # the kernel has none, or does not let us: nothing is found then


def _register_own(architectures: list[str]) -> None:
    """A table of handlers for this user namespace, in place of its parent's: all that are needed go into it."""
    wanted = []
    for architecture in architectures:
        outer = find(architecture)
        path = outer.interpreter if outer is not None else _emulator(architecture)
        if not path or not _is_static(path):
            return
        wanted.append((architecture, path))
    _show()
    for architecture, path in wanted:
        magic = _header(architecture)
        # Anything in the padding and the version of the ABI; the type of a file is 2, or 3 where it can be moved.
        mask = bytearray(b"\xff" * 20)
        mask[7] = 0
        mask[16 if _ELF[architecture][2] else 17] = 0xFE
        line = f":cais-{architecture}:M::{_escaped(magic)}:{_escaped(bytes(mask))}:{path}:OCF"
        try:
            with open(os.path.join(DIRECTORY, "register"), "w", encoding="utf-8") as file:
                file.write(line)
        except FileExistsError:
            continue
        except PermissionError:
            return  # an older kernel: the table is the host's
        except OSError as error:
            raise from_os_error(error, f"register {path} for {architecture} programs")


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def _emulator(architecture: str) -> str:
    if architecture not in _ELF:
        return ""
    name = _ELF[architecture][0]
    paths = (os.path.join(directory, f"qemu-{name}-static") for directory in _BINARIES)
    return next((path for path in paths if os.access(path, os.X_OK)), "")


def _is_static(path: str) -> bool:
    """Whether an ELF program needs no loader of its own: it has no PT_INTERP among its first program headers."""
    try:
        with open(path, "rb") as file:
            data = file.read(4096)
    except OSError:
        return False
    if data[:4] != b"\x7fELF" or len(data) < 64:
        return False
    import struct

    order = "<" if data[5] == 1 else ">"
    if data[4] == 2:
        (start,), (size, count) = struct.unpack_from(order + "Q", data, 32), struct.unpack_from(order + "HH", data, 54)
    else:
        (start,), (size, count) = struct.unpack_from(order + "I", data, 28), struct.unpack_from(order + "HH", data, 42)
    headers = range(start, min(start + size * count, len(data) - 3), max(size, 1))
    return all(struct.unpack_from(order + "I", data, at)[0] != _PT_INTERP for at in headers)
