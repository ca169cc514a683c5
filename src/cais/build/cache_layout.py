"""A build cache in a directory: an OCI image layout (image-spec image-layout.md) whose index names it by a tag.

Everything read is verified against its digest, and nothing is followed out of the directory. Everything written is
renamed to its place when it is whole, the index last: who reads, and who comes after one that was killed, finds what
was there before.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence

from cais.build.cache_config import CONFIG_LIMIT_BYTES, MEDIA_TYPE, CachedLayer, decode_config, encode_config
from cais.errors import CaisError, Corrupt, Invalid, NotFound, from_os_error
from cais.host.files import random_name, remove_tree, write_all, write_atomically
from cais.host.locks import FileLock
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Index, Manifest

_PIECE_BYTES = 1 << 20
_TAG = "org.opencontainers.image.ref.name"


def read_cache(directory: str, tag: str = "latest", digest: str = "") -> tuple[Manifest, list[CachedLayer]]:
    """The layers of the cache that ``tag`` (or ``digest``, of its manifest) names, but for those without their blob.

    Raises NotFound, Invalid, Corrupt.
    """
    try:
        raw = _read(os.path.join(directory, "index.json"), types.MANIFEST_LIMIT_BYTES)
    except NotFound:
        raise NotFound(f"could not read {directory}/index.json: no such file or directory")
    index = Index.decode(raw)
    if digest:
        found = [item for item in index.manifests if item.digest == Digest.parse(digest)]
    else:
        found = [item for item in index.manifests if (item.annotations or {}).get(_TAG) == tag]
    if not found:
        raise NotFound(f"{directory} has no cache {digest or tag!r}")
    target = found[-1]
    if target.media_type in types.INDEXES:
        raise Invalid(f"{directory} has a cache of BuildKit, whose keys are not those of Cais")
    manifest = Manifest.decode(_document(directory, target, types.MANIFEST_LIMIT_BYTES), target.media_type)
    if manifest.config.media_type != MEDIA_TYPE:
        raise Invalid(f"{directory} has no cache of Cais: its config is {manifest.config.media_type[:200]!r}")
    layers = decode_config(_document(directory, manifest.config, CONFIG_LIMIT_BYTES), manifest.layers)
    return manifest, [layer for layer in layers if layer.blob is not None and has_blob(directory, layer.blob)]


def has_blob(directory: str, blob: Descriptor) -> bool:
    """Whether there is a file of the right size."""
    try:
        status = os.lstat(_path(directory, blob.digest))
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == blob.size_bytes


def blob_pieces(directory: str, blob: Descriptor) -> Iterator[bytes]:
    """The bytes of a blob. Raises NotFound; Corrupt at its end where it is not what it should be."""
    checksum = hashlib.new(blob.digest.algorithm)
    left = blob.size_bytes
    descriptor = _open(_path(directory, blob.digest))
    try:
        while piece := os.read(descriptor, _PIECE_BYTES):
            left -= len(piece)
            if left < 0:
                break
            checksum.update(piece)
            yield piece
    finally:
        os.close(descriptor)
    if left or checksum.hexdigest() != blob.digest.hex:
        raise Corrupt(f"the blob {blob.digest} of the cache {directory} is damaged")


class CacheDirectory:
    """The blobs of a cache in a directory, as a Source."""

    def __init__(self, name: str) -> None:
        self.name = name

    def exists(self, blob: Descriptor) -> bool:
        return has_blob(self.name, blob)

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """All of it, whatever ``offset``: it is verified. Raises NotFound, Corrupt."""
        if not has_blob(self.name, blob):
            raise NotFound(f"the cache {self.name} does not have the blob {blob.digest}")
        return blob_pieces(self.name, blob)


def is_whole(directory: str, blob: Descriptor) -> bool:
    """Whether the blob is what its digest says: all of it is read."""
    try:
        for _ in blob_pieces(directory, blob):
            pass
    except (CaisError, OSError):
        return False
    return True


class CacheWriter:
    """``with CacheWriter(directory) as writer``: one at a time, in however many processes; the others wait."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._lock = FileLock(os.path.join(directory, ".lock"))

    def __enter__(self) -> CacheWriter:
        try:
            os.makedirs(os.path.join(self.directory, "blobs", "sha256"), exist_ok=True)
            self._lock.acquire()
            # What one that was killed was writing.
            remove_tree(os.path.join(self.directory, "ingest"))
            os.mkdir(os.path.join(self.directory, "ingest"))
        except OSError as error:
            self._lock.release()
            raise from_os_error(error, f"write the cache {self.directory}")
        return self

    def __exit__(self, *_: object) -> None:
        remove_tree(os.path.join(self.directory, "ingest"))
        self._lock.release()

    def add(self, pieces: Iterable[bytes], media_type: str) -> Descriptor:
        """Writes a blob; called from any thread."""
        temporary = os.path.join(self.directory, "ingest", random_name(8))
        checksum = hashlib.sha256()
        size = 0
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            try:
                for piece in pieces:
                    checksum.update(piece)
                    write_all(descriptor, piece)
                    size += len(piece)
            finally:
                os.close(descriptor)
            digest = Digest(f"sha256:{checksum.hexdigest()}")
            os.rename(temporary, _path(self.directory, digest))
        except OSError as error:
            raise from_os_error(error, f"write the cache {self.directory}")
        return Descriptor(media_type, digest, size)

    def finish(self, layers: Sequence[CachedLayer], tag: str) -> Descriptor:
        """Makes ``layers``, whose blobs are there, what ``tag`` names; other tags stay."""
        config = self.add([encode_config(layers)], MEDIA_TYPE)
        blobs = [layer.blob for layer in layers if layer.blob is not None]
        manifest = Manifest.encode(config, blobs)
        target = self.add([manifest.raw], types.OCI_MANIFEST)._replace(annotations={_TAG: tag})
        others = [item for item in self._manifests() if (item.annotations or {}).get(_TAG) != tag]
        try:
            write_atomically(os.path.join(self.directory, "oci-layout"), b'{"imageLayoutVersion":"1.0.0"}', 0o644)
            index = Index.encode([*others, target]).raw
            write_atomically(os.path.join(self.directory, "index.json"), index, 0o644)
        except OSError as error:
            raise from_os_error(error, f"write the cache {self.directory}")
        return target

    def _manifests(self) -> Sequence[Descriptor]:
        try:
            return Index.decode(_read(os.path.join(self.directory, "index.json"), types.MANIFEST_LIMIT_BYTES)).manifests
        except NotFound:
            return ()


def _path(directory: str, digest: Digest) -> str:
    return os.path.join(directory, "blobs", digest.algorithm, digest.hex)


def _open(path: str) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"there is no {path}")
    except OSError as error:
        raise from_os_error(error, f"read {path}")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise Invalid(f"{path} is not a file")
    return descriptor


def _read(path: str, limit_bytes: int) -> bytes:
    descriptor = _open(path)
    with open(descriptor, "rb") as file:
        data = file.read(limit_bytes + 1)
    if len(data) > limit_bytes:
        raise Invalid(f"{path} is larger than {limit_bytes} bytes")
    return data


def _document(directory: str, blob: Descriptor, limit_bytes: int) -> bytes:
    if blob.size_bytes > limit_bytes:
        raise Invalid(f"the document {blob.digest} of the cache {directory} is larger than {limit_bytes} bytes")
    return b"".join(blob_pieces(directory, blob))
