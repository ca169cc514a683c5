"""An OCI image layout in a directory (image-spec image-layout.md): read, and written, blobs first, the index last."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from cais.errors import CaisError, Corrupt, Invalid, NotFound, from_os_error
from cais.host.files import random_name, read_start, write_all
from cais.image.load import NAME_ANNOTATIONS
from cais.image.save import Layout, blob_name, sized
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.manifest import Index

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PIECE_BYTES = 1 << 20
LAYOUT_VERSION = b'{"imageLayoutVersion":"1.0.0"}'


class LayoutDirectory:
    """A Source and a Sink (``cais.ports``). Nothing is made before the first blob is pushed.

    Each file is renamed to its place when it is whole, so that a reader finds no half of one.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def exists(self, blob: Descriptor) -> bool:
        try:
            return os.stat(self._path(blob)).st_size == blob.size_bytes
        except OSError:
            return False

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """Raises NotFound, Invalid (not a file)."""
        try:
            file = os.open(self._path(blob), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"the layout {self.directory} does not have the blob {blob.digest}")
        except OSError as error:
            raise from_os_error(error, f"read the blob {blob.digest}")
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise Invalid(f"the blob {blob.digest} of the layout {self.directory} is not a file")
            os.lseek(file, offset, os.SEEK_SET)
            while piece := os.read(file, PIECE_BYTES):
                yield piece
        except OSError as error:
            raise from_os_error(error, f"read the blob {blob.digest}")
        finally:
            os.close(file)

    def push(self, blob: Descriptor, pieces: Iterator[bytes]) -> None:
        """Raises Corrupt when size or digest is another, Unavailable (no space), Denied."""
        path = self._path(blob)

        def fill(file: int) -> None:
            checksum = hashlib.new(blob.digest.algorithm)
            for piece in sized(blob, pieces):
                checksum.update(piece)
                write_all(file, piece)
            if checksum.hexdigest() != blob.digest.hex:
                raise Corrupt(
                    f"the blob that should be {blob.digest} has the digest {blob.digest.algorithm}:"
                    f"{checksum.hexdigest()}"
                )

        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            _write(path, fill)
        except OSError as error:
            raise from_os_error(error, f"write the image layout {self.directory}")

    def find(self, tag: str) -> Descriptor:
        """The image with this tag or full name, or digest; "" is the only one. Raises NotFound, Invalid (several)."""
        if not os.path.isdir(self.directory):
            raise NotFound(f"stat {self.directory}: no such file or directory")
        known = self.index().manifests
        if not tag:
            if len(known) != 1:
                raise Invalid(
                    f"the layout {self.directory} has {len(known)} images: say which one", hint=_names_of(known)
                )
            return known[0]
        found = [
            item
            for item in known
            if tag == item.digest or tag in [(item.annotations or {}).get(key) for key in NAME_ANNOTATIONS]
        ]
        if not found:
            raise NotFound(f"the layout {self.directory} has no image {tag!r}", hint=_names_of(known))
        return found[-1]

    def add(self, entries: Sequence[Descriptor], documents: Mapping[str, bytes] | None = None) -> None:
        """Names images whose blobs are there: other images of the index stay, the same names move.

        Raises Invalid (``directory`` has an index that is none), Unavailable, Denied.
        """
        wanted = {"oci-layout": LAYOUT_VERSION, **(documents or {})}
        wanted["index.json"] = self._merged(entries)
        try:
            for name, data in wanted.items():
                _write(os.path.join(self.directory, name), partial(write_all, data=data))
        except OSError as error:
            raise from_os_error(error, f"write the image layout {self.directory}")

    def check(self) -> None:
        """Whether it may be written to: raises Invalid where there is something else."""
        if os.path.lexists(self.directory) and not os.path.isdir(self.directory):
            raise Invalid(f"{self.directory} is not a directory")
        self._merged(())

    def _path(self, blob: Descriptor) -> str:
        return os.path.join(self.directory, blob_name(blob.digest))

    def index(self) -> Index:
        """What the layout names. Raises Invalid where it is none."""
        for name in ("oci-layout", "index.json"):
            try:
                raw = read_start(os.path.join(self.directory, name), types.MANIFEST_LIMIT_BYTES + 1)
            except FileNotFoundError:
                raise Invalid(
                    f"the directory {self.directory} is no OCI image layout: it has no {name}",
                    hint="A layout has oci-layout, index.json and blobs/.",
                )
            except OSError as error:
                raise from_os_error(error, f"read {name} of the image layout")
        return Index.decode(raw)

    def _merged(self, added: Sequence[Descriptor]) -> bytes:
        try:
            raw = read_start(os.path.join(self.directory, "index.json"), types.MANIFEST_LIMIT_BYTES + 1)
        except FileNotFoundError:
            return Index.encode(added).raw
        try:
            old = Index.decode(raw)
        except CaisError as error:
            raise Invalid(f"{self.directory} has an index.json that is no image index: {error.message}")
        names = {_name(item.annotations) for item in added} - {""}
        digests = {item.digest for item in added}
        kept = [
            item
            for item in old.manifests
            if _name(item.annotations) not in names and (item.digest not in digests or _name(item.annotations))
        ]
        return Index.encode([*kept, *added]).raw


def write_layout(planned: Layout, directory: str) -> None:
    """Adds what is planned to the layout that ``directory`` is, or makes it one. Raises as ``LayoutDirectory``."""
    layout = LayoutDirectory(directory)
    for blob in planned.blobs.values():
        if not layout.exists(blob):
            layout.push(blob, planned.source.fetch(blob))
    documents = dict(planned.documents)
    layout.add(Index.decode(documents.pop("index.json")).manifests, documents)


def _write(path: str, fill: Callable[[int], None]) -> None:
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


def _name(annotations: Mapping[str, str] | None) -> str:
    return next((annotations[key] for key in NAME_ANNOTATIONS if key in annotations), "") if annotations else ""


def _names_of(known: Sequence[Descriptor]) -> str:
    names = sorted({_name(item.annotations) for item in known} - {""})
    return f"Its images are: {', '.join(names[:20])}." if names else "They have no names: say a digest (@sha256:...)."
