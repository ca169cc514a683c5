"""The same image in OCI's media types or in Docker's: manifests are written anew, configs and layers stay."""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.encoding import encode
from cais.spec.manifest import Manifest, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cais.spec.digest import Digest

    Documents = Mapping[Digest, tuple[Descriptor, bytes]]

OCI, DOCKER = "oci", "docker"

_TO_OCI = {
    types.DOCKER_MANIFEST: types.OCI_MANIFEST,
    types.DOCKER_INDEX: types.OCI_INDEX,
    types.DOCKER_CONFIG: types.OCI_CONFIG,
    types.DOCKER_LAYER: types.OCI_LAYER,
    types.DOCKER_LAYER_GZIP: types.OCI_LAYER_GZIP,
    types.DOCKER_LAYER_ZSTD: types.OCI_LAYER_ZSTD,
    types.DOCKER_LAYER_FOREIGN: types.OCI_LAYER_NONDISTRIBUTABLE + "+gzip",
}
_TO_DOCKER = {new: old for old, new in _TO_OCI.items()}


def in_format(
    format: str, target: Descriptor, documents: Documents
) -> tuple[Descriptor, dict[Digest, tuple[Descriptor, bytes]]]:
    """``target`` and all documents below it (children first) in a format, ``oci`` or ``docker``; what is in it already
    keeps its bytes. Raises Invalid for what Docker's format does not have (artifacts, zstd layers)."""
    table = _TO_OCI if format == OCI else _TO_DOCKER
    changed: dict[str, Descriptor] = {}
    made: dict[Digest, tuple[Descriptor, bytes]] = {}
    for old, raw in documents.values():
        document = decode(raw, old.media_type)
        fields = dict(document.fields)
        if isinstance(document, Manifest):
            if format == DOCKER:
                _check_for_docker(document, old)
            fields["config"] = _typed(fields["config"], table)
            fields["layers"] = [_typed(layer, table) for layer in fields.get("layers", ())]
        else:
            fields["manifests"] = [_replaced(item, changed) for item in fields["manifests"]]
        media_type = table.get(old.media_type, old.media_type)
        if "mediaType" in fields or media_type != old.media_type:
            fields["mediaType"] = media_type
        if fields == document.fields:
            new = old
        else:
            raw = encode(fields)
            new = decode(raw).descriptor._replace(annotations=old.annotations, platform=old.platform)
            changed[old.digest] = new
        made[new.digest] = (new, raw)
    return changed.get(target.digest, target), made


def _typed(fields: dict[str, object], table: Mapping[str, str]) -> dict[str, object]:
    media_type = str(fields.get("mediaType", ""))
    return {**fields, "mediaType": table.get(media_type, media_type)}


def _replaced(fields: dict[str, object], changed: Mapping[str, Descriptor]) -> dict[str, object]:
    new = changed.get(str(fields.get("digest", "")))
    if new is None:
        return fields
    return {**fields, "mediaType": new.media_type, "digest": new.digest, "size": new.size_bytes}


def _check_for_docker(manifest: Manifest, item: Descriptor) -> None:
    known = {*_TO_OCI, *_TO_DOCKER}
    for child in manifest.children:
        if child.media_type not in known or types.compression_of(child.media_type) == "zstd":
            raise Invalid(f"{item.digest} cannot be in Docker's format: {child.media_type[:200]!r} is unknown to it")
