"""Platform: operating system, architecture and variant (image-spec image-index.md)."""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "i386": "386", "i486": "386", "i586": "386", "i686": "386",
    "aarch64": "arm64", "armhf": "arm", "armel": "arm", "armv7l": "arm", "armv6l": "arm", "armv5l": "arm",
    "mips64el": "mips64le", "mipsel": "mipsle", "ppc64el": "ppc64le", "powerpc64le": "ppc64le", "loong64": "loong64",
    "loongarch64": "loong64",
}  # fmt: skip
_VARIANT_OF = {"armhf": "v7", "armel": "v6", "armv7l": "v7", "armv6l": "v6", "armv5l": "v5"}
_SYSTEMS = {"macos": "darwin"}
# What may stand alone, as containerd knows them.
_KNOWN_SYSTEMS = frozenset((
    "aix", "android", "darwin", "dragonfly", "freebsd", "hurd", "illumos", "ios", "js", "linux", "macos", "nacl",
    "netbsd", "openbsd", "plan9", "solaris", "windows", "zos",
))  # fmt: skip
_KNOWN_ARCHITECTURES = frozenset((
    "386", "amd64", "amd64p32", "arm", "armbe", "arm64", "arm64be", "loong64", "mips", "mipsle", "mips64", "mips64le",
    "mips64p32", "mips64p32le", "ppc", "ppc64", "ppc64le", "riscv", "riscv64", "s390", "s390x", "sparc", "sparc64",
    "wasm",
))  # fmt: skip
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")
# As error messages have them.
_SYSTEM_PATTERN = r"^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.-]*)\\))?$"
_PART_PATTERN = "^[A-Za-z0-9_.-]+$"


class Platform(NamedTuple):
    """Normalised: ``aarch64`` is ``arm64``, and the usual variant of an architecture (arm64's v8) is left out."""

    os: str = "linux"
    architecture: str = "amd64"
    variant: str = ""
    os_version: str = ""

    @classmethod
    def parse(cls, text: str, default: Platform | None = None) -> Platform:
        """``os/arch[/variant]``, or a lone os or architecture completed from ``default``. Raises Invalid."""
        parts = text.lower().split("/", 3)
        for number, part in enumerate(parts):
            if not part or not _ALLOWED.issuperset(part) or (number == 0 and "." in part):
                said = text.split("/", 3)[number]
                raise _invalid(
                    f'"{said}" is an invalid OS component of "{text}": OSAndVersion specifier component must match '
                    f'"{_SYSTEM_PATTERN}"'
                    if number == 0
                    else f'"{said}" is an invalid component of "{text}": platform specifier component must match '
                    f'"{_PART_PATTERN}"'
                )
        if len(parts) > 3:
            raise _invalid(f'"{text}": cannot parse platform specifier')
        if len(parts) == 1:
            base = default or cls()
            if parts[0] in _KNOWN_SYSTEMS:
                return cls.normalised(parts[0], base.architecture, base.variant)
            if _ARCHITECTURES.get(parts[0], parts[0]) not in _KNOWN_ARCHITECTURES:
                raise _invalid(f'"{text}": unknown operating system or architecture')
            return cls.normalised(base.os, parts[0])
        return cls.normalised(*parts)

    @classmethod
    def normalised(cls, os: str, architecture: str, variant: str = "", os_version: str = "") -> Platform:
        system = _SYSTEMS.get(os, os)
        variant = variant or _VARIANT_OF.get(architecture, "")
        architecture = _ARCHITECTURES.get(architecture, architecture)
        if architecture == "arm64" and variant in ("8", "v8"):
            variant = ""
        elif architecture == "arm":
            variant = {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
        elif architecture == "amd64" and variant == "v1":
            variant = ""
        return cls(system, architecture, variant, os_version)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Platform:
        return cls.normalised(
            str(value.get("os", "")), str(value.get("architecture", "")),
            str(value.get("variant", "")), str(value.get("os.version", "")),
        )  # fmt: skip

    def to_json(self) -> dict[str, str]:
        value = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            value["os.version"] = self.os_version
        if self.variant:
            value["variant"] = self.variant
        return value

    def matches(self, other: Platform) -> bool:
        """Whether an image of ``other`` is what one who asks for ``self`` means (an absent variant asks for any)."""
        return (
            self.os == other.os
            and self.architecture == other.architecture
            and (not self.variant or not other.variant or self.variant == other.variant)
        )

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def _invalid(reason: str) -> Invalid:
    """In containerd's words, which are Docker's."""
    return Invalid(
        f"{reason}: invalid argument",
        hint="A platform is os/architecture or os/architecture/variant, as in linux/arm64.",
    )
