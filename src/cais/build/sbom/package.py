"""A package, and the URL that names it in every tool (purl specification)."""

from __future__ import annotations

from collections.abc import Mapping

from cais.spec.named import NamedTuple

# Longer than any real one: what exceeds it is no name and no version.
TEXT_LIMIT_CHARACTERS = 256
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_~")


class Package(NamedTuple):
    """``kind`` is the purl's type: deb, apk, pypi, npm. ``path`` is the file in the tree that tells of it.

    ``license`` is an SPDX expression or "", ``supplier`` who maintains it, ``source`` what it was built from.
    ``qualifiers`` are the purl's, in its order.
    """

    kind: str
    namespace: str
    name: str
    version: str
    path: str
    license: str = ""
    supplier: str = ""
    source: str = ""
    qualifiers: tuple[tuple[str, str], ...] = ()

    @property
    def purl(self) -> str:
        namespace = f"{quoted(self.namespace)}/" if self.namespace else ""
        version = f"@{quoted(self.version, ':')}" if self.version else ""
        more = "&".join(f"{key}={quoted(value)}" for key, value in self.qualifiers if value)
        return f"pkg:{self.kind}/{namespace}{quoted(self.name)}{version}" + (f"?{more}" if more else "")


def quoted(text: str, also: str = "") -> str:
    """Percent-encoded, but for letters, digits, ``.-_~`` and ``also``."""
    if _PLAIN.issuperset(text):
        return text
    return "".join(
        char if char in _PLAIN or char in also else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace"))
        for char in text
    )


def docker_purl(name: str, tag: str, digest: str, platform: str) -> str:
    """The purl of an image, as BuildKit writes it: ``pkg:docker/debian@13?platform=linux%2Famd64``."""
    version = f"@{quoted(tag or digest, ':')}" if tag or digest else ""
    qualifiers = [f"digest={quoted(digest, ':')}"] if tag and digest else []
    qualifiers += [f"platform={quoted(platform)}"] if platform else []
    path = "/".join(quoted(part, ":") for part in name.split("/"))
    return f"pkg:docker/{path}{version}" + (f"?{'&'.join(qualifiers)}" if qualifiers else "")


def cleaned(text: object, limit: int = TEXT_LIMIT_CHARACTERS) -> str:
    """``text`` on one line without what is not printable; "" when it is too long or no text."""
    if not isinstance(text, str):
        return ""
    text = text.strip()
    if len(text) > limit:
        return ""
    return text if text.isprintable() else "".join(char for char in text if char.isprintable())


def expression(text: object) -> str:
    """``text`` when it is an SPDX license expression of well-known licenses, else "": most fields are free text."""
    found = cleaned(text)
    words = found.replace("(", " ").replace(")", " ").split()
    known = all(word in ("AND", "OR", "WITH") or _LICENSES.get(word) for word in words)
    return found if words and known else ""


_LICENSES: Mapping[str, bool] = dict.fromkeys(
    (
        "0BSD", "AFL-2.1", "AGPL-3.0-only", "AGPL-3.0-or-later", "Apache-2.0", "Artistic-2.0", "BlueOak-1.0.0",
        "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "bzip2-1.0.6", "CC0-1.0", "CC-BY-3.0", "CC-BY-4.0", "curl",
        "GPL-1.0-or-later", "GPL-2.0-only", "GPL-2.0-or-later", "GPL-3.0-only", "GPL-3.0-or-later", "ICU", "ISC",
        "LGPL-2.0-or-later", "LGPL-2.1-only", "LGPL-2.1-or-later", "LGPL-3.0-only", "LGPL-3.0-or-later", "MIT",
        "MIT-0", "MPL-2.0", "OpenSSL", "OFL-1.1", "PSF-2.0", "Python-2.0", "Unicode-3.0", "Unlicense", "Vim", "WTFPL",
        "X11", "Zlib", "zlib-acknowledgement", "ZPL-2.1", "Classpath-exception-2.0", "GCC-exception-3.1",
        "LLVM-exception", "OpenSSL-exception",
    ),
    True,
)  # fmt: skip
