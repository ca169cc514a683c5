"""Which path is what: the specification's endpoints, told apart from their end, since a name may hold any word."""

from __future__ import annotations

from urllib.parse import unquote_to_bytes

from cais.catalog.access import DELETE, PULL, PUSH
from cais.registry import blobs, lists, manifests, uploads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from cais.registry.call import Call, Response

    Handler = Callable[[Call], Awaitable[Response]]
    Methods = dict[str, tuple[Handler, str]]

_BLOB: Methods = {"GET": (blobs.get, PULL), "HEAD": (blobs.get, PULL), "DELETE": (blobs.delete, DELETE)}
_MANIFEST: Methods = {
    "GET": (manifests.get, PULL),
    "HEAD": (manifests.get, PULL),
    "PUT": (manifests.put, PUSH),
    "DELETE": (manifests.delete, DELETE),
}
_UPLOADS: Methods = {"POST": (uploads.begin, PUSH)}
_UPLOAD: Methods = {
    "GET": (uploads.status, PUSH),
    "HEAD": (uploads.status, PUSH),
    "PATCH": (uploads.append, PUSH),
    "PUT": (uploads.finish, PUSH),
    "DELETE": (uploads.cancel, PUSH),
}
_TAGS: Methods = {"GET": (lists.tags, PULL), "HEAD": (lists.tags, PULL)}
_REFERRERS: Methods = {"GET": (lists.referrers, PULL), "HEAD": (lists.referrers, PULL)}


class Route:
    __slots__ = ("methods", "reference", "repository")

    def __init__(self, methods: Methods, repository: str, reference: str = "") -> None:
        self.methods, self.repository, self.reference = methods, repository, reference


def find(path: bytes) -> Route | None:
    """The route of a path below ``/v2/``, as it came in (escaped); None where there is none."""
    segments = path.split(b"/")
    if b"%" in path:
        segments = [unquote_to_bytes(segment) for segment in segments]
        if any(b"/" in segment for segment in segments):
            return None  # another path to a proxy that looks at it than to us
    parts = [segment.decode("utf-8", "replace") for segment in segments]
    # "", "v2", name..., kind, reference
    if len(parts) < 5 or parts[1] != "v2":
        return None
    kind, last = parts[-2], parts[-1]
    if kind == "uploads" and len(parts) >= 6 and parts[-3] == "blobs":
        name = "/".join(parts[2:-3])
        return Route(_UPLOAD, name, last) if last else Route(_UPLOADS, name)
    name = "/".join(parts[2:-2])
    if kind == "manifests":
        return Route(_MANIFEST, name, last)
    if kind == "blobs":
        return Route(_UPLOADS, name) if last == "uploads" else Route(_BLOB, name, last)
    if kind == "tags" and last == "list":
        return Route(_TAGS, name)
    if kind == "referrers":
        return Route(_REFERRERS, name, last)
    return None
