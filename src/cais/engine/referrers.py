"""What refers to an image (signatures, attestations, bills of materials) going along with it, wherever it goes.

A referrer is a manifest whose ``subject`` is the image's; it may have referrers itself. Signatures in the older way,
under tags made of the image's digest, go from registry to registry.
"""

from __future__ import annotations

from cais.engine.copy import copy
from cais.errors import CaisError, NotFound
from cais.spec import media_types as types
from cais.spec.manifest import Index, decode
from cais.spec.progress import silent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cais.content.store import ContentStore
    from cais.engine.copy import Graph
    from cais.ports import Sink, Source, Taker
    from cais.remote.registry import Registry
    from cais.spec.descriptor import Descriptor
    from cais.spec.digest import Digest

    # The referrers of a manifest, at a source.
    Referrers = Callable[[Digest], Iterable[Descriptor]]
    # Called with a subject and a referrer whose graph is at the sink.
    Kept = Callable[[Digest, Descriptor, Graph], None]

_LIMIT = 1000
# Signatures, attestations and bills of materials, as cosign named them before there were referrers.
_SUFFIXES = (".sig", ".att", ".sbom")


def copy_referrers(
    find: Referrers, source: Source, sink: Sink | Taker, subjects: Iterable[Digest], kept: Kept | None = None
) -> list[Descriptor]:
    """Copies what refers to ``subjects``, and what refers to that; returns the referrers.

    Raises what source and sink raise.
    """
    pending = list(subjects)
    seen = set(pending)
    found: list[Descriptor] = []
    while pending and len(found) < _LIMIT:
        subject = pending.pop()
        for item in find(subject):
            if item.digest in seen:
                continue
            graph = copy(source, sink, item, silent)
            if kept is not None:
                kept(subject, item, graph)
            found.append(item)
            pending += [digest for digest in graph.documents if digest not in seen]
            seen.update(graph.documents)
    return found


def of_registry(registry: Registry) -> Referrers:
    """Those that a registry lists."""
    from cais.remote.referrers import referrers

    return lambda subject: referrers(registry, subject)


def of_content(content: ContentStore) -> Referrers:
    """Those that are here, by the links that ``keep_here`` made."""

    def find(subject: Digest) -> list[Descriptor]:
        found = []
        for digest in content.children(subject):
            size_bytes = content.size_of(digest)
            if size_bytes is None or size_bytes > types.MANIFEST_LIMIT_BYTES:
                continue
            try:
                document = decode(content.read(digest, types.MANIFEST_LIMIT_BYTES))
            except CaisError:
                continue  # a layer or a config
            if document.subject is not None and document.subject.digest == subject:
                found.append(document.descriptor._replace(digest=digest, artifact_type=document.artifact_type))
        return found

    return find


def of_index(index: Callable[[], Index], source: Source) -> Referrers:
    """Those that a layout names beside its images."""
    from cais.engine.copy import read_document

    def find(subject: Digest) -> list[Descriptor]:
        found = []
        for item in index().manifests:
            document = decode(read_document(source, item), item.media_type)
            if document.subject is not None and document.subject.digest == subject:
                found.append(item)
        return found

    return find


def keep_here(content: ContentStore) -> Kept:
    """As long as the subject is here, what refers to it is, too."""

    def kept(subject: Digest, item: Descriptor, graph: Graph) -> None:
        for document, raw in graph.documents.values():
            content.link(document.digest, [child.digest for child in decode(raw, document.media_type).children])
        content.link(subject, [item.digest])

    return kept


def copy_signature_tags(source: Registry, sink: Registry, subjects: Iterable[Digest]) -> None:
    """What stands under ``sha256-<hex>.sig`` and the like."""
    for subject in subjects:
        for suffix in _SUFFIXES:
            tag = f"{subject.algorithm}-{subject.hex}{suffix}"
            try:
                item = source.resolve(tag)
            except NotFound:
                continue

            def put(document: Descriptor, raw: bytes, tag: str = tag) -> None:
                sink.put_manifest(raw, document.media_type, tag, digest=document.digest)

            copy(source, sink, item, silent, put_target=put)
