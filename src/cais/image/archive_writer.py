"""An archive of one image, written while its blobs arrive: an OCI layout in a tar; for Docker, too."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence

from cais.errors import Corrupt, NotFound, from_os_error
from cais.image.layout_directory import LAYOUT_VERSION
from cais.image.save import blob_name, sized
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import encode
from cais.spec.manifest import Index, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class ArchiveWriter:
    """A Sink (``cais.ports``) of one stream: one blob after the other, each pushed by one thread at a time.

    ``with ArchiveWriter(path) as archive``: the file has its name when it is whole; what is no plain file (a pipe) is
    written as it is. There what was written cannot be taken back: a blob that is not what it should be ends the
    archive.
    """

    def __init__(self, path: str) -> None:
        import threading

        self._path = os.path.realpath(path)
        self._plain = not os.path.exists(self._path) or os.path.isfile(self._path)
        self._partial = f"{self._path}.{os.getpid()}.partial" if self._plain else self._path
        self._written: set[Digest] = set()
        self._lock = threading.Lock()
        self._damage: Corrupt | None = None
        self._file: BinaryIO | None = None

    def __enter__(self) -> ArchiveWriter:
        from cais.host.tar_writer import plain_header

        if not os.path.isdir(os.path.dirname(self._path)):
            raise NotFound(f"{os.path.dirname(self._path)}: no such directory")
        try:
            self._file = open(self._partial, "wb")
        except OSError as error:
            raise from_os_error(error, f"write {self._path}")
        self._document("oci-layout", LAYOUT_VERSION)
        self._write(plain_header("blobs/", 0))
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._file is not None
        try:
            self._file.close()
            if self._plain and kind is None:
                os.replace(self._partial, self._path)
        except OSError as error:
            if kind is None:
                raise from_os_error(error, f"write {self._path}")
        finally:
            if self._plain and os.path.exists(self._partial):
                os.unlink(self._partial)

    def exists(self, blob: Descriptor) -> bool:
        return blob.digest in self._written

    def push(self, blob: Descriptor, pieces: Iterator[bytes]) -> None:
        """Raises Corrupt when size or digest is another: in a file nothing stays of it then, a stream takes no more.
        Raises Unavailable (no space)."""
        with self._lock:
            if self._damage is not None:
                raise self._damage
            if blob.digest in self._written:
                return
            assert self._file is not None
            start = self._file.tell() if self._plain else 0
            try:
                self._entry(blob, pieces)
            except Corrupt as error:
                if not self._plain:
                    self._damage = error
                else:
                    self._file.seek(start)
                    self._file.truncate()
                raise
            self._written.add(blob.digest)

    def _entry(self, blob: Descriptor, pieces: Iterator[bytes]) -> None:
        from cais.host.tar_writer import padding, plain_header

        if not any(digest.algorithm == blob.digest.algorithm for digest in self._written):
            self._write(plain_header(f"blobs/{blob.digest.algorithm}/", 0))
        self._write(plain_header(blob_name(blob.digest), blob.size_bytes))
        checksum = hashlib.new(blob.digest.algorithm)
        for piece in sized(blob, pieces):
            checksum.update(piece)
            self._write(piece)
        if checksum.hexdigest() != blob.digest.hex:
            raise Corrupt(
                f"the blob that should be {blob.digest} has the digest {blob.digest.algorithm}:{checksum.hexdigest()}"
            )
        self._write(padding(blob.size_bytes))

    def finish(self, entries: Sequence[Descriptor], docker: Sequence[tuple[Manifest, Sequence[str]]] = ()) -> None:
        """The end: the index, and for Docker the manifests with their names (``app:1``)."""
        from cais.host.tar_writer import trailer

        self._document("index.json", Index.encode(entries).raw)
        if docker:
            documents = [
                {
                    "Config": blob_name(manifest.config.digest),
                    "RepoTags": list(names) or None,
                    "Layers": [blob_name(layer.digest) for layer in manifest.layers],
                }
                for manifest, names in docker
            ]
            self._document("manifest.json", encode(documents))
        self._write(trailer())

    def _document(self, name: str, data: bytes) -> None:
        from cais.host.tar_writer import padding, plain_header

        self._write(plain_header(name, len(data)) + data + padding(len(data)))

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise from_os_error(error, f"write {self._path}")
