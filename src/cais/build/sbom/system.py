"""Packages of the distribution: dpkg's status (and distroless images' status.d), apk's installed database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from cais.build.sbom.package import Package, cleaned, expression
from cais.build.sbom.reading import lines_of
from cais.build.tree import Tree

DPKG_STATUS = "var/lib/dpkg/status"
DPKG_STATUS_DIRECTORY = "var/lib/dpkg/status.d"
APK_DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_DPKG_FIELDS = frozenset(("Package", "Status", "Version", "Architecture", "Source", "Maintainer"))


class Distribution:
    """What ``etc/os-release`` says: the purl's namespace and its ``distro`` qualifier."""

    def __init__(self, tree: Tree) -> None:
        found: dict[str, str] = {}
        for path in ("etc/os-release", "usr/lib/os-release"):
            for line in lines_of(tree, path, 1 << 16):
                name, equals, value = line.partition("=")
                if equals:
                    found.setdefault(name.strip(), cleaned(value.strip().strip("\"'")))
        self.id = found.get("ID", "").lower()
        version = found.get("VERSION_ID", "")
        self.name = f"{self.id}-{version}" if self.id and version else self.id


def debian(tree: Tree, distribution: Distribution, names: Iterable[str]) -> Iterator[Package]:
    """``names`` are those of the files in ``status.d``. Only what is installed, not what left its configuration."""
    for fields in _paragraphs(lines_of(tree, DPKG_STATUS)):
        if fields.get("Status", "").endswith(" installed"):
            yield from _debian_package(fields, distribution, DPKG_STATUS)
    for name in sorted(names):
        path = f"{DPKG_STATUS_DIRECTORY}/{name}"
        if not name.endswith(".md5sums"):
            for fields in _paragraphs(lines_of(tree, path)):
                yield from _debian_package(fields, distribution, path)


def _paragraphs(lines: Iterable[str]) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    for line in lines:
        if not line:
            if fields:
                yield fields
            fields = {}
        elif line[0] not in " \t":
            name, colon, value = line.partition(":")
            if colon and name in _DPKG_FIELDS:
                fields[name] = value.strip()
    if fields:
        yield fields


def _debian_package(fields: dict[str, str], distribution: Distribution, path: str) -> Iterator[Package]:
    name, version = cleaned(fields.get("Package")), cleaned(fields.get("Version"))
    if not name or not version:
        return
    architecture = cleaned(fields.get("Architecture"))
    source = cleaned(fields.get("Source"))
    yield Package(
        "deb", distribution.id or "debian", name, version, path,
        supplier=cleaned(fields.get("Maintainer")),
        source=source,
        qualifiers=(("arch", architecture), ("distro", distribution.name)),
    )  # fmt: skip


def alpine(tree: Tree, distribution: Distribution) -> Iterator[Package]:
    for path in APK_DATABASES:
        fields: dict[str, str] = {}
        found = False
        for line in chain(lines_of(tree, path), ("",)):
            if line:
                key, colon, value = line.partition(":")
                # F, R, a, Z tell of files: there are many of them.
                if colon and key in ("P", "V", "A", "L", "o", "m"):
                    fields.setdefault(key, value)
                continue
            name, version = cleaned(fields.get("P")), cleaned(fields.get("V"))
            if name and version:
                found = True
                yield Package(
                    "apk", distribution.id or "alpine", name, version, path,
                    license=expression(fields.get("L")),
                    supplier=cleaned(fields.get("m")),
                    source=cleaned(fields.get("o")),
                    qualifiers=(("arch", cleaned(fields.get("A"))), ("distro", distribution.name)),
                )  # fmt: skip
            fields = {}
        if found:
            return  # the other name is a link to the same
