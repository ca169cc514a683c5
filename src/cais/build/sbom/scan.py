"""All packages of a tree, in one walk."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from cais.build.sbom import node, python, system
from cais.build.sbom.package import Package
from cais.build.tree import Tree

# Beyond these a tree was made to keep a scan busy.
DEPTH_LIMIT = 100
PACKAGE_LIMIT = 15_000
# Of the kernel, not of the image.
_SKIPPED = frozenset(("proc", "sys", "dev"))


def scan(path: str) -> list[Package]:
    """The packages of the file system at ``path``, each once, ordered. Raises NotFound, Denied."""
    found: dict[tuple[str, str], Package] = {}
    with Tree(path) as tree:
        for package in _packages(tree):
            # The one whose file comes first tells of it, in whatever order the directory is listed.
            key = (package.kind, package.purl)
            known = found.get(key)
            if known is None or package.path < known.path:
                found[key] = package
            if len(found) >= PACKAGE_LIMIT:
                break
    return [found[key] for key in sorted(found)]


def _packages(tree: Tree) -> Iterator[Package]:
    distribution = system.Distribution(tree)
    try:
        status_files = _names(tree, system.DPKG_STATUS_DIRECTORY)
    except OSError:
        status_files = []
    yield from system.debian(tree, distribution, status_files)
    yield from system.alpine(tree, distribution)
    pending = [("", 0)]
    while pending:
        directory, depth = pending.pop()
        try:
            descriptor = tree.open(directory)
        except OSError:
            continue
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    is_directory = entry.is_dir(follow_symlinks=False)
                    if is_directory and depth < DEPTH_LIMIT and not (not directory and entry.name in _SKIPPED):
                        pending.append((f"{directory}/{entry.name}" if directory else entry.name, depth + 1))
                    yield from _told_by(tree, directory, entry.name, is_directory)
        except OSError:
            continue
        finally:
            os.close(descriptor)


def _told_by(tree: Tree, directory: str, name: str, is_directory: bool) -> Iterator[Package]:
    """What one entry of a directory tells of."""
    if name.endswith("-info"):
        metadata = python.metadata_of(directory, name, is_directory)
        if metadata:
            yield from python.python(tree, metadata)
    elif not is_directory and name == "package.json":
        if node.is_installed(directory):
            yield from node.installed(tree, f"{directory}/{name}")
    elif not is_directory and name in node.LOCK_FILES and "node_modules" not in directory.split("/"):
        yield from node.locked(tree, f"{directory}/{name}" if directory else name)


def _names(tree: Tree, path: str) -> list[str]:
    resolved = tree.resolve(path)
    if resolved.status is None or not stat.S_ISDIR(resolved.status.st_mode):
        return []
    descriptor = tree.open(resolved.path)
    try:
        return os.listdir(descriptor)[:PACKAGE_LIMIT]
    finally:
        os.close(descriptor)
