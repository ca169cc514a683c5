"""Registry: one repository at one registry, as a Source and a Sink, with its manifests and tags.

Manifests keep the bytes that came; a digest that a registry says is believed where they have it. Blobs are verified by
the Sink that they go to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cais.errors import CaisError, Corrupt, Invalid, NotFound, Unsupported
from cais.remote import answers
from cais.remote.download import pieces_of
from cais.remote.transport import Transport
from cais.remote.uploads import upload
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import decode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from cais.ports import Source
    from cais.remote.streamed import Streamed

MANIFEST_TYPES = types.MANIFESTS | types.INDEXES
_ACCEPT = ", ".join((types.OCI_INDEX, types.OCI_MANIFEST, types.DOCKER_INDEX, types.DOCKER_MANIFEST))
_OLD_MANIFESTS = "application/vnd.docker.distribution.manifest.v1+"
_PAGE_BYTES = 16 << 20


class Document(NamedTuple):
    """A manifest or an index as it came, and what names it."""

    descriptor: Descriptor
    raw: bytes


class BlobsMissing(NotFound):
    """A registry refused a manifest because it lacks something that the manifest names."""


class Registry:
    """``repository`` is the path that requests name; ``pushing``: the token is asked for to write, too.

    Threads share it.
    """

    def __init__(self, transport: Transport, repository: str, *, pushing: bool = False) -> None:
        self.transport = transport
        self.repository = repository
        self.scopes = (f"repository:{repository}:" + ("pull,push" if pushing else "pull"),)
        self._base = f"/v2/{repository}/"

    def __repr__(self) -> str:
        return f"Registry({self.name})"

    @property
    def name(self) -> str:
        """``docker.io/library/debian``."""
        return f"{self.transport.endpoint.registry}/{self.repository}"

    # Manifests

    def resolve(self, tag_or_digest: str) -> Descriptor:
        """What a tag points at, by a HEAD where the registry's answer to one says it. Raises NotFound, Corrupt."""
        headers = {"Accept": _ACCEPT}
        path = self._base + "manifests/" + tag_or_digest
        with self.transport.request("HEAD", path, scopes=self.scopes, headers=headers, accepted=(200, 404)) as response:
            if response.status == 404:
                raise NotFound("manifest unknown: manifest unknown")
            described = self._described(response, tag_or_digest)
        return described or self.manifest(tag_or_digest).descriptor

    def manifest(self, tag_or_digest: str, limit_bytes: int = types.MANIFEST_LIMIT_BYTES) -> Document:
        """Raises NotFound; Corrupt where it is not what its digest says, or too large; Unsupported, Invalid."""
        what = f"the manifest {tag_or_digest} of {self.name}"
        path = self._base + "manifests/" + tag_or_digest
        raw, headers = self.transport.document(path, limit_bytes, what, scopes=self.scopes, headers={"Accept": _ACCEPT})
        media_type = _media_type(headers)
        said = headers.get("Docker-Content-Digest", "")
        if media_type.startswith(_OLD_MANIFESTS):
            raise Unsupported(f"{what} has the form of Docker before 1.10 (schema 1), which is not read any more")
        expected = _parsed(tag_or_digest) or _parsed(said)
        if expected is None:
            expected = Digest.of(raw)
        if not expected.fits(raw):
            raise Corrupt(f"{what} should be {expected}, but what came has the digest {Digest.of(raw)}")
        if media_type not in MANIFEST_TYPES:
            media_type = decode(raw).media_type
        return Document(Descriptor(media_type, expected, len(raw)), raw)

    def put_manifest(self, raw: bytes, media_type: str, tag: str = "", *, digest: Digest | None = None) -> Descriptor:
        """Stores a manifest under a tag, or only under its digest; one with a subject is listed among its referrers.

        Raises BlobsMissing where the registry lacks what it names, Denied, Invalid; Corrupt where the registry says
        that it stored something else.
        """
        digest = digest or Digest.of(raw)
        path = self._base + "manifests/" + (tag or digest)
        # Told a tag alone, a registry takes sha256. Not all know another algorithm, or this way of telling both.
        by_both = bool(tag) and digest.algorithm != "sha256"
        if by_both:
            path = f"{self._base}manifests/{digest}?tag={tag}"
        with self.transport.request(
            "PUT", path, scopes=self.scopes, headers={"Content-Type": media_type}, body=raw, accepted=(201, 400, 404)
        ) as response:
            if response.status != 201 and not by_both:
                body = answers.read_document(response, answers.ERROR_LIMIT_BYTES, "the answer")
                error = answers.refusal(response.status, body, self.name)
                if answers.codes(body) & {"manifest blob unknown", "blob unknown", "manifest unknown"}:
                    raise BlobsMissing(error.message)
                raise error
            stored = _parsed(response.headers.get("Docker-Content-Digest", ""))
            is_listed = bool(response.headers.get("OCI-Subject"))
            by_tag_alone = by_both and tag not in response.headers.getlist("OCI-Tag")
        if by_tag_alone:
            return self.put_manifest(raw, media_type, tag)
        if stored is not None and stored.algorithm == digest.algorithm and stored != digest:
            raise Corrupt(f"{self.name} stored the manifest {digest} as {stored}")
        stored_as = Descriptor(media_type, digest, len(raw))
        if b'"subject"' in raw and not is_listed:
            from cais.remote.referrers import list_under_tag

            list_under_tag(self, stored_as, raw)
        return stored_as

    def delete_manifest(self, tag_or_digest: str) -> None:
        """Raises NotFound, Unsupported where the registry does not allow it."""
        scopes = (f"repository:{self.repository}:delete",)
        path = self._base + "manifests/" + tag_or_digest
        self.transport.request("DELETE", path, scopes=scopes, accepted=(200, 202, 204)).close()

    # Blobs (and manifests by their digest): Source and Sink

    def exists(self, blob: Descriptor) -> bool:
        """Raises Corrupt where the registry has something of another size under this digest."""
        headers = {"Accept": _ACCEPT} if blob.media_type in MANIFEST_TYPES else {}
        with self.transport.request(
            "HEAD", self._path(blob), scopes=self.scopes, headers=headers, accepted=(200, 404)
        ) as response:
            if response.status == 404:
                return False
            length = response.headers.get("Content-Length", "")
        if length.isdigit() and blob.size_bytes and int(length) not in (blob.size_bytes, 0):
            raise Corrupt(f"{self.name} has {length} bytes as {blob.digest}, which should have {blob.size_bytes}")
        return True

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The bytes from ``offset`` on; a connection that breaks is taken up where it broke.

        Raises NotFound, Corrupt (more bytes than there should be), Unavailable.
        """
        if blob.media_type in MANIFEST_TYPES:
            document = self.manifest(blob.digest)
            return iter((document.raw[offset:],))
        return pieces_of(self.transport, self._path(blob), self.scopes, blob, offset)

    def push(self, blob: Descriptor, pieces: Iterator[bytes]) -> None:
        """Stores a blob in one go: ``take`` can begin again, this cannot. Raises Corrupt, Denied, Unavailable."""
        self.take(blob, _Once(pieces))

    def take(self, blob: Descriptor, source: Source, mount_from: Sequence[str] = ()) -> str:
        """Stores a blob that ``source`` has, going on where a connection broke. Returns the repository of this registry
        that it was mounted from, of ``mount_from``; "" where its bytes were sent.

        Raises Corrupt where the bytes are not ``blob``, Denied, Unauthorized, Unavailable.
        """
        if blob.media_type in MANIFEST_TYPES:
            raw = b"".join(source.fetch(blob))
            if len(raw) != blob.size_bytes or not blob.digest.fits(raw):
                raise Corrupt(f"the manifest that should be {blob.digest} has the digest {Digest.of(raw)}")
            self.put_manifest(raw, blob.media_type, digest=blob.digest)
            return ""
        return upload(self.transport, self.repository, self.scopes, blob, source, mount_from)

    def streamed(self) -> Streamed:
        """For a blob that is sent while it is made."""
        from cais.remote.streamed import Streamed

        return Streamed(self.transport, self.repository, self.scopes)

    # Tags

    def is_empty(self) -> bool:
        """Whether it has no tag, so that nothing can be found in it. False where the registry does not say."""
        try:
            return next(self.tags(1), None) is None
        except NotFound:
            return True
        except CaisError:
            return False

    def tags(self, page: int = 0) -> Iterator[str]:
        """All tags, page by page (``page`` asks for that many at a time). Raises NotFound."""
        path = self._base + "tags/list" + (f"?n={page}" if page else "")
        for fields in pages(self.transport, path, self.scopes, f"the tags of {self.name}"):
            tags = fields.get("tags")
            yield from (tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else ()

    def _path(self, blob: Descriptor) -> str:
        kind = "manifests/" if blob.media_type in MANIFEST_TYPES else "blobs/"
        return self._base + kind + blob.digest

    def _described(self, response: BaseHTTPResponse, asked: str) -> Descriptor | None:
        digest = _parsed(response.headers.get("Docker-Content-Digest", ""))
        length = response.headers.get("Content-Length", "")
        media_type = _media_type(response.headers)
        wanted = _parsed(asked)
        if wanted is not None and digest is not None and digest != wanted:
            raise Corrupt(f"{self.name} answered {wanted} with {digest}")
        if digest is None or not length.isdigit() or media_type not in MANIFEST_TYPES:
            return None
        if int(length) > types.MANIFEST_LIMIT_BYTES:
            raise Corrupt(f"the manifest {asked} of {self.name} is larger than {types.MANIFEST_LIMIT_BYTES} bytes")
        return Descriptor(media_type, digest, int(length))


class _Once:
    """A Source of pieces that cannot be had a second time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces: Iterator[bytes] | None = pieces

    def exists(self, blob: Descriptor) -> bool:
        return self._pieces is not None

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        if offset or self._pieces is None:
            raise NotFound(f"the bytes of {blob.digest} cannot be had again")
        pieces, self._pieces = self._pieces, None
        return pieces


def pages(transport: Transport, path: str, scopes: Sequence[str], what: str) -> Iterator[dict[str, object]]:
    """The JSON objects of a list that comes in pages (distribution-spec, "Listing Tags")."""
    from cais.spec.encoding import decode_object

    seen: set[str] = set()
    while path:
        if path in seen:
            raise Corrupt(f"{what}: the list refers to a page that came already")
        seen.add(path)
        raw, headers = transport.document(path, _PAGE_BYTES, what, scopes=scopes)
        yield decode_object(raw, what, _PAGE_BYTES)
        path = _next(headers.get("Link", ""))


def _next(link: str) -> str:
    """The URL of ``<...>; rel="next"`` (RFC 8288), or ""."""
    url, end, rest = link.strip().partition(">")
    if not url.startswith("<") or not end or "next" not in rest:
        return ""
    return url[1:]


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip()


def _parsed(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except Invalid:
        return None
