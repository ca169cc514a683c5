"""Attestations of an image, stored as BuildKit does ("Image attestation storage"): statements about its manifest, in a
manifest of their own that stands beside it in the index, for the platform ``unknown/unknown``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.errors import Corrupt, Invalid
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.image_config import ImageConfig
from cais.spec.manifest import Index, Manifest
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.content.store import ContentStore
    from cais.image.store import Image, Images

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v0.1"
SBOM = "https://spdx.dev/Document"
PREDICATE_TYPE = "in-toto.io/predicate-type"
REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
ATTESTATION_MANIFEST = "attestation-manifest"
# A statement larger than this is not read.
STATEMENT_LIMIT_BYTES = 64 << 20


class Attestation(NamedTuple):
    """One statement about an image: what kind of predicate, and the predicate."""

    predicate_type: str
    predicate: dict[str, Any]


def store_attestations(
    content: ContentStore, about: Digest, names: Sequence[str], attestations: Sequence[Attestation]
) -> Descriptor:
    """Writes them; returns the entry for the index. ``names`` are the purls of what ``about``, a manifest, is called.

    Raises Unavailable (no space).
    """
    subjects = [{"name": name, "digest": {about.algorithm: about.hex}} for name in names or ("_",)]
    layers = []
    for item in attestations:
        raw = statement(item, subjects)
        content.hold((Digest.of(raw),))
        layers.append(Descriptor(IN_TOTO, content.add(raw), len(raw), {PREDICATE_TYPE: item.predicate_type}))
    config = ImageConfig(
        {
            "architecture": "unknown",
            "os": "unknown",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
        }
    )
    manifest = Manifest.encode(config.descriptor, layers)
    content.hold((config.digest, manifest.digest))
    content.add(config.raw)
    content.add(manifest.raw, [child.digest for child in manifest.children])
    return manifest.descriptor._replace(
        annotations={REFERENCE_DIGEST: about, REFERENCE_TYPE: ATTESTATION_MANIFEST},
        platform=Platform("unknown", "unknown"),
    )


def statement(item: Attestation, subjects: Sequence[Mapping[str, Any]]) -> bytes:
    """An in-toto statement about ``subjects``, each a name and digests."""
    return encode(
        {
            "_type": STATEMENT,
            "predicateType": item.predicate_type,
            "subject": [dict(subject) for subject in subjects],
            "predicate": item.predicate,
        }
    )


def subjects_of(root: str) -> list[dict[str, Any]]:
    """The regular files below ``root`` with their digests, ordered. Raises Denied."""
    import hashlib
    import os
    import stat

    from cais.errors import from_os_error

    found = []
    for directory, directories, names, descriptor in os.fwalk(root, follow_symlinks=False):
        directories.sort()
        for name in sorted(names):
            try:
                file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=descriptor)
            except OSError as error:
                if stat.S_ISREG(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
                    raise from_os_error(error, f"read {name}")
                continue  # a link, or a socket
            with open(file, "rb") as opened:
                if not stat.S_ISREG(os.fstat(file).st_mode):
                    continue
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            path = os.path.relpath(os.path.join(directory, name), root)
            found.append(
                {
                    "name": path.encode("utf-8", "surrogateescape").decode("utf-8", "replace"),
                    "digest": {"sha256": digest},
                }
            )
    return found


def is_attestation(item: Descriptor) -> bool:
    """Whether an entry of an index is no image, but about one."""
    return (item.annotations or {}).get(REFERENCE_TYPE) == ATTESTATION_MANIFEST


def attestations_of(images: Images, image: Image, kind: str = "") -> list[Attestation]:
    """What is said about ``image``; with ``kind``, those whose predicate type begins so.

    Raises Corrupt, NotFound where the store is damaged, Invalid for what is no statement.
    """
    if image.target.media_type not in types.INDEXES:
        return []
    raw = images.content.read(image.target.digest, types.MANIFEST_LIMIT_BYTES)
    found = []
    for item in Index.decode(raw, image.target.media_type).manifests:
        if not is_attestation(item) or (item.annotations or {}).get(REFERENCE_DIGEST) != image.manifest.digest:
            continue
        if images.content.exists(item):
            found += statements_of(images, item, kind)
    return found


def statements_of(images: Images, item: Descriptor, kind: str = "") -> list[Attestation]:
    """Of an attestation manifest that is here; raises as ``attestations_of``."""
    manifest = Manifest.decode(images.content.read(item.digest, types.MANIFEST_LIMIT_BYTES), item.media_type)
    return [
        _statement(images, layer)
        for layer in manifest.layers
        if layer.media_type == IN_TOTO and (layer.annotations or {}).get(PREDICATE_TYPE, "").startswith(kind)
    ]


def _statement(images: Images, layer: Descriptor) -> Attestation:
    import json

    # Not as strictly as a manifest: nothing depends on it, and it may be long.
    try:
        fields = json.loads(images.content.read(layer.digest, STATEMENT_LIMIT_BYTES))
    except (ValueError, RecursionError) as error:
        raise Corrupt(f"the attestation {layer.digest} is not JSON: {error}")
    predicate = fields.get("predicate") if isinstance(fields, dict) else None
    if not isinstance(predicate, dict):
        raise Invalid(f"the attestation {layer.digest} is no in-toto statement")
    return Attestation(str(fields.get("predicateType", "")), predicate)
