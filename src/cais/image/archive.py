"""What came in an archive or a layout directory: documents in memory, everything else already in the content store.

An archive is read once, front to back, so that it may be a pipe; its members may come in any order. What is named by
its digest (``blobs/sha256/..``) is verified while it arrives; what the store has already is skipped.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from cais.errors import Invalid, NotFound, from_os_error
from cais.host.files import read_start
from cais.image.layers import present
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.progress import Progress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.content.store import ContentStore

# Read whole. Everything else of an archive goes to the content store, or is skipped (Docker's legacy files).
DOCUMENTS = frozenset(("index.json", "manifest.json", "oci-layout", "repositories"))
_LEGACY = ("/json", "/VERSION")
MEMBERS_LIMIT = 100_000
_LINKS_LIMIT = 8


class Archive:
    """A tar archive, read to its end by ``read``."""

    def __init__(self, content: ContentStore, note: Progress) -> None:
        self.documents: dict[str, bytes] = {}
        self._content = content
        self._note = note
        self._files: dict[str, tuple[Digest, int]] = {}
        self._links: dict[str, str] = {}

    def read(self, pieces: Iterator[bytes]) -> None:
        """Raises Invalid and Corrupt for what is no archive, or not the one it says it is."""
        from cais.host.compression import decompressed
        from cais.host.tar_reader import TarReader

        reader = TarReader(decompressed(pieces, limit_bytes=ARCHIVE_LIMIT_BYTES))
        for count, entry in enumerate(reader):
            if count >= MEMBERS_LIMIT:
                raise Invalid(f"the archive has more than {MEMBERS_LIMIT} members")
            name = member_name(os.fsdecode(entry.name))
            if not name:
                continue
            if entry.kind == "symlink":
                target = os.fsdecode(entry.link_target)
                self._link(name, member_name(os.path.join(os.path.dirname(name), target), f"the link {name!r}"))
            elif entry.kind == "hardlink":
                self._link(name, member_name(os.fsdecode(entry.link_target), f"the link {name!r}"))
            elif entry.kind == "file":
                self._file(name, entry.size_bytes, entry.data)

    def _link(self, name: str, target: str) -> None:
        if self._links.get(name, target) != target or name in self._files:
            raise Invalid(f"the archive has two different members {name!r}")
        self._links[name] = target

    def _file(self, name: str, size_bytes: int, data: Callable[[], Iterator[bytes]]) -> None:
        if name in DOCUMENTS:
            if size_bytes > types.MANIFEST_LIMIT_BYTES:
                raise Invalid(
                    f"the archive's {name} is {size_bytes} bytes, more than the limit of {types.MANIFEST_LIMIT_BYTES}"
                )
            document = b"".join(data())
            if self.documents.get(name, document) != document:
                raise Invalid(f"the archive has two different members {name!r}")
            self.documents[name] = document
            return
        if name.endswith(_LEGACY) and name.count("/") == 1:
            return
        digest = blob_digest(name)
        if digest is not None and present(self._content, digest, size_bytes):
            self._note({"event": "blob", "digest": digest, "size_bytes": size_bytes, "state": "exists"})
            found = digest
        else:
            with self._content.ingest(digest.algorithm if digest is not None else "sha256") as ingest:
                for piece in data():
                    ingest.write(piece)
                    self._note({"event": "status", "what": name, "current": ingest.size_bytes, "total": size_bytes})
                found = ingest.commit(Descriptor("", digest, size_bytes) if digest is not None else None)
            self._note({"event": "blob", "digest": found, "size_bytes": size_bytes, "state": "received"})
        if self._files.get(name, (found, size_bytes)) != (found, size_bytes) or name in self._links:
            raise Invalid(f"the archive has two different members {name!r}")
        self._files[name] = (found, size_bytes)

    def file(self, name: str) -> tuple[Digest, int]:
        """Digest and size in bytes of a member, links followed. Raises Invalid when there is none."""
        wanted = member_name(name)
        for _ in range(_LINKS_LIMIT):
            if wanted in self._files:
                return self._files[wanted]
            if wanted not in self._links:
                break
            wanted = self._links[wanted]
        raise Invalid(f"the archive's manifest.json names {name[:200]!r}, which is not in the archive")

    def provide(self, blob: Descriptor) -> None:
        """Makes sure that the blob is in the store. Raises Invalid when it did not come, Corrupt for another size."""
        if not present(self._content, blob.digest, blob.size_bytes):
            raise Invalid(f"the archive does not have the blob {blob.digest}")


class Layout:
    """An OCI image layout in a directory (image-spec image-layout.md); only what is asked for is read."""

    def __init__(self, content: ContentStore, directory: str, note: Progress) -> None:
        self.documents: dict[str, bytes] = {}
        self._content = content
        self._directory = directory
        self._note = note
        for name in ("index.json", "oci-layout"):
            try:
                self.documents[name] = read_start(os.path.join(directory, name), types.MANIFEST_LIMIT_BYTES + 1)
            except FileNotFoundError:
                raise Invalid(
                    f"the directory {directory} is no OCI image layout: it has no {name}",
                    hint="A directory can be loaded when it has oci-layout, index.json and blobs/.",
                )
            except OSError as error:
                raise from_os_error(error, f"read {name} of the image layout")

    def file(self, name: str) -> tuple[Digest, int]:
        """A layout has no files but blobs."""
        raise Invalid(f"the layout has no file {name[:200]!r}")

    def provide(self, blob: Descriptor) -> None:
        """Copies the blob to the store. Raises Invalid when it is not there, Corrupt when it is not what it should."""
        if present(self._content, blob.digest, blob.size_bytes):
            return
        path = os.path.join(self._directory, "blobs", blob.digest.algorithm, blob.digest.hex)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            raise Invalid(f"the layout {self._directory} does not have the blob {blob.digest}")
        except OSError as error:
            raise from_os_error(error, f"read the blob {blob.digest}")
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise Invalid(f"the blob {blob.digest} of the layout {self._directory} is not a file")
            self._content.push(blob, iter(lambda: os.read(descriptor, 1 << 20), b""))
        finally:
            os.close(descriptor)
        self._note({"event": "blob", "digest": blob.digest, "size_bytes": blob.size_bytes, "state": "received"})


# An archive that decompresses to more than this is taken for a decompression bomb.
ARCHIVE_LIMIT_BYTES = 1 << 40


def member_name(name: str, what: str = "") -> str:
    """The name of an archive's member without ``.`` and doubled slashes. Raises Invalid for one that leads outside."""
    if name.startswith("/"):
        raise Invalid(f"the archive has {what or 'a member'} with the absolute name {name[:200]!r}")
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not parts or not what:
                raise Invalid(f"the archive has {what or 'a member'} that leads out of it: {name[:200]!r}")
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def blob_digest(name: str) -> Digest | None:
    """The digest that ``blobs/<algorithm>/<hex>`` names; None for other names. Raises Invalid for a malformed one."""
    parts = name.split("/")
    if len(parts) != 3 or parts[0] != "blobs":
        return None
    return Digest.parse(f"{parts[1]}:{parts[2]}")


def pieces_of(path: str) -> Iterator[bytes]:
    """The bytes of a file. Raises NotFound, Denied."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"open {path}: no such file or directory")
    except OSError as error:
        raise from_os_error(error, f"open {path}")
    try:
        while piece := os.read(descriptor, 1 << 20):
            yield piece
    finally:
        os.close(descriptor)
