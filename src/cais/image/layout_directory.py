"""An OCI image layout written to a directory (image-spec image-layout.md): blobs first, the index last."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping

from cais.errors import CaisError, Corrupt, Invalid, from_os_error
from cais.host.files import random_name, read_start, write_all
from cais.image.load import NAME_ANNOTATIONS
from cais.image.save import Layout, blob_name, sized
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.manifest import Index


def write_layout(planned: Layout, directory: str) -> None:
    """Adds to the layout that ``directory`` is, or makes it one: other images in its index stay, the same names move.

    Each file is renamed to its place when it is whole, so that a reader finds no half of one. Raises Corrupt, Invalid
    (``directory`` has an index that is none), Unavailable, Denied.
    """
    try:
        os.makedirs(directory, exist_ok=True)
        for blob in planned.blobs.values():
            path = os.path.join(directory, blob_name(blob.digest))
            if os.path.exists(path) and os.path.getsize(path) == blob.size_bytes:
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write(path, lambda file, blob=blob: _copy(file, blob, planned))
        documents = dict(planned.documents)
        documents["index.json"] = _merged(directory, documents["index.json"])
        for name, data in documents.items():
            _write(os.path.join(directory, name), lambda file, data=data: write_all(file, data))
    except OSError as error:
        raise from_os_error(error, f"write the image layout {directory}")


def _write(path: str, fill: object) -> None:
    assert callable(fill)
    temporary = f"{path}.{random_name(6)}.part"
    try:
        file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            fill(file)
        finally:
            os.close(file)
        os.rename(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def _copy(file: int, blob: Descriptor, planned: Layout) -> None:
    checksum = hashlib.new(blob.digest.algorithm)
    for piece in sized(blob, planned.source.fetch(blob)):
        checksum.update(piece)
        write_all(file, piece)
    if checksum.hexdigest() != blob.digest.hex:
        raise Corrupt(f"the blob {blob.digest} is damaged", hint="Run: cais system check")


def _merged(directory: str, new: bytes) -> bytes:
    try:
        raw = read_start(os.path.join(directory, "index.json"), types.MANIFEST_LIMIT_BYTES + 1)
    except FileNotFoundError:
        return new
    try:
        old = Index.decode(raw)
    except CaisError as error:
        raise Invalid(f"{directory} has an index.json that is no image index: {error.message}")
    added = Index.decode(new).manifests
    names = {_name(item.annotations) for item in added} - {""}
    digests = {item.digest for item in added}
    kept = [
        item
        for item in old.manifests
        if _name(item.annotations) not in names and (item.digest not in digests or _name(item.annotations))
    ]
    return Index.encode([*kept, *added]).raw


def _name(annotations: Mapping[str, str] | None) -> str:
    return next((annotations[key] for key in NAME_ANNOTATIONS if key in annotations), "") if annotations else ""
