"""Packages of Python: the metadata that pip and setuptools leave beside what they install."""

from __future__ import annotations

from collections.abc import Iterator

from cais.build.sbom.package import Package, cleaned, expression
from cais.build.sbom.reading import headers_of
from cais.build.tree import Tree


def metadata_of(directory: str, name: str, is_directory: bool) -> str:
    """The path of the metadata that the entry ``name`` of ``directory`` brings, or ""."""
    path = f"{directory}/{name}" if directory else name
    if name.endswith(".dist-info") and is_directory:
        return f"{path}/METADATA"
    if name.endswith(".egg-info"):
        return f"{path}/PKG-INFO" if is_directory else path
    return ""


def python(tree: Tree, path: str) -> Iterator[Package]:
    """``path`` is a METADATA or PKG-INFO (core metadata of Python's packaging)."""
    fields = headers_of(tree, path)
    name, version = cleaned(fields.get("name")), cleaned(fields.get("version"))
    if not name or not version:
        return
    author = cleaned(fields.get("author")) or cleaned(fields.get("author-email"))
    yield Package(
        "pypi", "", name.lower().replace("_", "-"), version, path,
        license=expression(fields.get("license-expression")) or expression(fields.get("license")),
        supplier=author,
    )  # fmt: skip
