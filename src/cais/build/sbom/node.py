"""Packages of Node: what stands in node_modules, and what a lock file outside of it names."""

from __future__ import annotations

from collections.abc import Iterator

from cais.build.sbom.package import Package, cleaned, expression
from cais.build.sbom.reading import object_of
from cais.build.tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LOCK_FILES = ("package-lock.json", "npm-shrinkwrap.json")
_DEPTH_LIMIT = 50


def is_installed(directory: str) -> bool:
    """Whether ``directory`` is one in which node_modules keeps a package: ``../node_modules/[@scope/]name``."""
    parts = directory.rsplit("/", 3)
    return len(parts) > 1 and (
        (parts[-2] == "node_modules" and not parts[-1].startswith((".", "@")))
        or (len(parts) > 2 and parts[-3] == "node_modules" and parts[-2].startswith("@"))
    )


def installed(tree: Tree, path: str) -> Iterator[Package]:
    """``path`` is the package.json of a directory that ``is_installed``."""
    document = object_of(tree, path)
    license = document.get("license")
    if isinstance(license, dict):
        license = license.get("type")
    yield from _package(document.get("name"), document.get("version"), license, path)


def locked(tree: Tree, path: str) -> Iterator[Package]:
    """Those of a lock file of any version."""
    document = object_of(tree, path)
    packages = document.get("packages")
    if isinstance(packages, dict):
        for place, entry in packages.items():
            if place and isinstance(entry, dict) and not entry.get("link"):
                name = entry.get("name") or place.rpartition("node_modules/")[2]
                yield from _package(name, entry.get("version"), entry.get("license"), path)
        return
    pending = [(document.get("dependencies"), 0)]
    while pending:
        dependencies, depth = pending.pop()
        if not isinstance(dependencies, dict) or depth > _DEPTH_LIMIT:
            continue
        for name, entry in dependencies.items():
            if isinstance(entry, dict):
                yield from _package(name, entry.get("version"), None, path)
                pending.append((entry.get("dependencies"), depth + 1))


def _package(name: Any, version: Any, license: Any, path: str) -> Iterator[Package]:
    name, version = cleaned(name), cleaned(version)
    scope, slash, rest = name.partition("/")
    if not slash:
        scope, rest = "", name
    # A version that is a place (file:.., git+ssh:..) is none.
    if not rest or not version or "/" in rest or "/" in version or (slash and not scope.startswith("@")):
        return
    yield Package("npm", scope.lower(), rest.lower(), version, path, license=expression(license))
