"""Indexes put together in registries (``builder imagetools``), without anything being pulled."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from cais.engine.annotations import Annotation, parse_annotations
from cais.engine.build_steps import Step
from cais.engine.stores import Stores
from cais.errors import CaisError, Invalid, NotFound
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Index, Manifest
from cais.spec.named import NamedTuple
from cais.spec.progress import Progress, silent
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.remote.registry import Document, Registry

_ATTESTED = {"https://slsa.dev/provenance/": ("provenance", "SLSA"), "https://spdx.dev/Document": ("sbom", "SPDX")}
_STATEMENT_LIMIT_BYTES = 64 << 20


class CreateOptions(NamedTuple):
    """``sources`` are names, digests or descriptors in JSON; ``tags`` where the result goes. ``append``: to what the
    first tag names. ``annotations`` are ``index:KEY=VALUE`` and ``manifest-descriptor[PLATFORM]:KEY=VALUE``."""

    sources: Sequence[str] = ()
    tags: Sequence[str] = ()
    append: bool = False
    dry_run: bool = False
    annotations: Sequence[str] = ()


class _From(NamedTuple):
    """A manifest or an index and where it is."""

    reference: Reference
    descriptor: Descriptor
    raw: bytes


class ImageTools:
    """What registries have, looked at and put together."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    def read(self, name: str) -> Document:
        """What a name points at in its registry. Raises NotFound, Denied, Unauthorized, ..."""
        return self._document(Reference.parse(name))

    def inspect(self, name: str) -> dict[str, Any]:
        """By buildx's keys: ``name``, ``manifest``, ``image`` (of several platforms by platform), and ``provenance``
        and ``sbom`` where there are any. Raises as ``read``."""
        reference = Reference.parse(name)
        registry = self._registry(reference)
        document = self._document(reference)
        target = document.descriptor
        described = {"mediaType": target.media_type, "digest": target.digest, "size": target.size_bytes}
        found: dict[str, Any] = {"name": str(reference), "manifest": described}
        if target.media_type not in types.INDEXES:
            found["image"] = _config(registry, document.raw, target)
            return found
        index = Index.decode(document.raw, target.media_type)
        found["manifest"] = {
            "schemaVersion": 2, **described, "manifests": [item.to_json() for item in index.manifests],
        }  # fmt: skip
        if index.annotations:
            found["manifest"]["annotations"] = dict(index.annotations)
        images = [item for item in index.manifests if item.media_type in types.MANIFESTS and not _is_attestation(item)]
        several = len(images) > 1
        for item in images:
            key = str(item.platform or item.digest)
            _put(found, "image", key, _config(registry, registry.manifest(item.digest).raw, item), several)
            for kind, said in _attestations(registry, index, item.digest):
                _put(found, kind, key, said, several)
        return found

    def create(self, options: CreateOptions, progress: Progress = silent) -> bytes:
        """The document that was put together, and sent to the tags (not with ``dry_run``), with what their repositories
        lack of it. Raises NotFound, Invalid, Denied, Unauthorized, ..."""
        if not options.dry_run and not options.tags:
            raise Invalid("can't push with no tags specified, please set --tag or --dry-run")
        if options.append and not options.tags:
            raise Invalid("can't append with no tags specified: the first one names what is added to")
        tags = [Reference.parse(tag) for tag in options.tags]
        sources = self._sources(options.sources, tags)
        if options.append:
            sources.insert(0, self._read(tags[0]))
        if not sources:
            raise Invalid("no sources specified")
        annotations = parse_annotations(options.annotations)
        _check(annotations, options.annotations)
        parts, raw, media_type = self._combined(sources, annotations)
        if not options.dry_run:
            for number, tag in enumerate(tags, 1):
                with Step(progress, number, f"[internal] pushing {tag}") as step:
                    self._send(tag, parts, raw, media_type, step)
        return raw

    def _sources(self, texts: Sequence[str], tags: Sequence[Reference]) -> list[_From]:
        parsed = [_parsed(text.strip()) for text in texts]
        # A digest alone is one of the repository that all else is about.
        repositories = {item.name: item for item in (*tags, *(item for item in parsed if isinstance(item, Reference)))}
        found = []
        for item in parsed:
            if isinstance(item, Reference):
                found.append(self._read(item))
                continue
            if len(repositories) != 1:
                reason = (
                    "multiple repositories currently not supported" if repositories else "no repositories specified"
                )
                raise Invalid(f"{reason}, please set a reference in tag or source")
            (repository,) = repositories.values()
            digest = item if isinstance(item, Digest) else item.digest
            read = self._read(repository._replace(tag="", digest=digest))
            if isinstance(item, Descriptor):
                said = item._replace(media_type=read.descriptor.media_type, size_bytes=read.descriptor.size_bytes)
                read = read._replace(descriptor=said)
            found.append(read)
        return found

    def _read(self, reference: Reference) -> _From:
        document = self._document(reference)
        return _From(reference, document.descriptor, document.raw)

    def _combined(self, sources: Sequence[_From], annotations: Sequence[Annotation]) -> tuple[list[_From], bytes, str]:
        """What there is to send, and the document that names it."""
        first = sources[0]
        if len(sources) == 1 and not annotations and first.descriptor.media_type in types.INDEXES:
            return [first], first.raw, first.descriptor.media_type
        entries: dict[Digest, Descriptor] = {}
        for source in sources:
            for item in self._entries(source):
                known = entries.get(item.digest)
                if known is not None:
                    said = {**(known.annotations or {}), **(item.annotations or {})} or None
                    item = known._replace(platform=known.platform or item.platform, annotations=said)
                entries[item.digest] = item
        for note in annotations:
            if note.kind != "manifest-descriptor":
                continue
            for digest, item in entries.items():
                if note.platform is None or note.platform == item.platform:
                    entries[digest] = item._replace(annotations={**(item.annotations or {}), note.key: note.value})
        of_docker = all(item.media_type.startswith("application/vnd.docker.") for item in entries.values())
        own = {note.key: note.value for note in annotations if note.kind == "index"}
        media_type = types.DOCKER_INDEX if of_docker and not own else types.OCI_INDEX
        index: dict[str, Any] = {
            "schemaVersion": 2, "mediaType": media_type, "manifests": [item.to_json() for item in entries.values()],
        }  # fmt: skip
        if own:
            index["annotations"] = dict(sorted(own.items()))
        return list(sources), json.dumps(index, indent=2, ensure_ascii=False).encode(), media_type

    def _entries(self, source: _From) -> list[Descriptor]:
        target = source.descriptor
        if target.media_type in types.INDEXES:
            return list(Index.decode(source.raw, target.media_type).manifests)
        if target.platform is None:
            config = _config(self._registry(source.reference), source.raw, target)
            if config.get("os") and config.get("architecture"):
                from cais.spec.platform import Platform

                target = target._replace(platform=Platform.from_json(config))
        return [target]

    def _send(self, tag: Reference, parts: Sequence[_From], raw: bytes, media_type: str, step: Step) -> None:
        from cais.engine.arriving import Layers
        from cais.engine.copy import read_graph
        from cais.engine.push import send

        registry = self._registry(tag, pushing=True)
        for part in parts:
            if part.reference.name == tag.name:
                continue
            source = self._registry(part.reference)
            item = part.descriptor._replace(annotations=None, platform=None)
            graph = read_graph(source, item)
            by_digest = tag._replace(tag="", digest=item.digest)
            layers = Layers(step, None, unpacks=False)
            send(self._stores, registry, by_digest, source, graph, item, layers, part.reference)
        registry.put_manifest(raw, media_type, tag.tag)

    def _document(self, reference: Reference) -> Document:
        try:
            return self._registry(reference).manifest(reference.digest or reference.tag)
        except NotFound:
            raise NotFound(f"{reference}: not found")

    def _registry(self, reference: Reference, *, pushing: bool = False) -> Registry:
        return self._stores.registries.repository(reference, pushing=pushing)


def _parsed(text: str) -> Reference | Digest | Descriptor:
    """Raises Invalid."""
    try:
        if text.startswith("{"):
            return Descriptor.from_json(json.loads(text))
        return Digest.parse(text) if text.startswith(("sha256:", "sha512:")) else Reference.parse(text)
    except (CaisError, ValueError, RecursionError) as error:
        raise Invalid(
            f'failed to parse source "{text}", valid sources are digests, references and descriptors: {error}'
        )


def _check(annotations: Sequence[Annotation], texts: Sequence[str]) -> None:
    for note in annotations:
        if note.kind not in ("index", "manifest-descriptor"):
            raise Invalid(
                f'"{note.kind}" annotations are not supported yet (in {", ".join(texts)})',
                hint="Write index:KEY=VALUE, or manifest-descriptor:KEY=VALUE.",
            )


def _config(registry: Registry, raw: bytes, item: Descriptor) -> dict[str, Any]:
    """The fields of an image's config; none of an artifact. Raises Corrupt, Invalid."""
    from cais.engine.build_pull import read_config

    manifest = Manifest.decode(raw, item.media_type)
    if manifest.config.media_type not in types.CONFIGS:
        return {}
    return dict(read_config(registry, manifest).fields)


def _is_attestation(item: Descriptor) -> bool:
    from cais.image.attestations import is_attestation

    return is_attestation(item)


def _attestations(registry: Registry, index: Index, about: Digest) -> Iterator[tuple[str, dict[str, Any]]]:
    """``provenance`` and ``sbom``, as buildx has them, of what is said about a manifest."""
    from cais.engine.copy import read_document
    from cais.image.attestations import REFERENCE_DIGEST
    from cais.spec.encoding import decode_object

    for item in index.manifests:
        if not _is_attestation(item) or (item.annotations or {}).get(REFERENCE_DIGEST) != about:
            continue
        for layer in Manifest.decode(read_document(registry, item), item.media_type).layers:
            kind = (layer.annotations or {}).get("in-toto.io/predicate-type", "")
            for start, (key, name) in _ATTESTED.items():
                if kind.startswith(start) and layer.size_bytes <= _STATEMENT_LIMIT_BYTES:
                    raw = b"".join(registry.fetch(layer))
                    if layer.digest.fits(raw):
                        statement = decode_object(raw, "attestation", _STATEMENT_LIMIT_BYTES)
                        yield key, {name: statement.get("predicate")}


def _put(found: dict[str, Any], kind: str, platform: str, value: Mapping[str, Any], several: bool) -> None:
    """Of several platforms each has its own."""
    if several:
        found.setdefault(kind, {}).setdefault(platform, {}).update(value)
    else:
        found.setdefault(kind, {}).update(value)
