"""An SPDX 2.3 document in JSON of the packages of an image."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cais.build.sbom.package import Package

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ROOT = "SPDXRef-DocumentRoot-Image"
_SOURCES = {"deb": "the dpkg database", "apk": "the apk database", "pypi": "Python metadata", "npm": "Node metadata"}


def document(
    packages: Sequence[Package], *, name: str, created: str, tool: str, partial: bool = False
) -> dict[str, Any]:
    """``created`` is a time as in a config, ``tool`` who made it: ``cais-0.1.0``. ``partial``: there are more. Pure."""
    identity = hashlib.sha256(repr((name, [package.purl for package in packages])).encode("utf-8", "replace"))
    ids = _ids(packages)
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/{tool}-{identity.hexdigest()[:32]}",
        # Whole seconds: more the specification does not allow.
        "creationInfo": {"created": created[:19] + "Z", "creators": [f"Tool: {tool}"]},
        **({"comment": f"There are more packages: these are {len(packages)}."} if partial else {}),
        "packages": [
            {
                "name": name,
                "SPDXID": _ROOT,
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False,
                "primaryPackagePurpose": "CONTAINER",
            },
            *(_package(package, id) for package, id in zip(packages, ids, strict=True)),
        ],
        "relationships": [
            {"spdxElementId": "SPDXRef-DOCUMENT", "relatedSpdxElement": _ROOT, "relationshipType": "DESCRIBES"},
            *({"spdxElementId": _ROOT, "relatedSpdxElement": id, "relationshipType": "CONTAINS"} for id in ids),
        ],
    }


def _package(package: Package, id: str) -> dict[str, Any]:
    value: dict[str, Any] = {
        "name": f"{package.namespace}/{package.name}" if package.kind == "npm" and package.namespace else package.name,
        "SPDXID": id,
        "versionInfo": package.version,
    }
    if package.supplier:
        # "Name <address>" is written "Name (address)" in SPDX.
        value["supplier"] = f"Person: {package.supplier.replace('<', '(').replace('>', ')')}"
    value |= {
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "sourceInfo": f"from {_SOURCES[package.kind]}: /{_text(package.path)}"
        + (f" (source package {package.source})" if package.source else ""),
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": package.license or "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": package.purl,
            }
        ],
    }
    return value


def _ids(packages: Sequence[Package]) -> list[str]:
    """Letters, digits, ``.`` and ``-``; no two alike."""
    ids: list[str] = []
    for package in packages:
        text = "".join(char if char.isascii() and (char.isalnum() or char in ".-") else "-" for char in package.name)
        mark = hashlib.sha256(package.purl.encode("utf-8", "replace")).hexdigest()[:16]
        ids.append(f"SPDXRef-Package-{package.kind}-{text}-{mark}")
    return ids


def _text(path: str) -> str:
    return path.encode("utf-8", "replace").decode() if path.isprintable() else ascii(path)[1:-1]
