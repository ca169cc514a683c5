"""Manifest lists put together by hand (``manifest create``): of manifests that are in registries already."""

from __future__ import annotations

from cais.engine.stores import Stores
from cais.errors import Invalid, NotFound
from cais.image.manifest_lists import ManifestLists, Member, document_of
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Manifest
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from cais.remote.registry import Document, Registry
    from cais.spec.progress import Progress


class Manifests:
    """The lists of one root directory. ``insecure``: http, and any certificate, will do."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores
        self._lists = ManifestLists(stores.database)

    def create(self, name: str, members: Sequence[str], *, amend: bool = False, insecure: bool = False) -> str:
        """A list that is to be pushed to ``name``; its name in full. Raises Conflict, NotFound, Invalid."""
        reference = _named(name, "manifest list")
        if self._lists.members(reference) and not amend:
            self._lists.create(reference, ())  # raises
        found = [self._member(Reference.parse(text), insecure) for text in members]
        self._lists.create(reference, found, amend=amend)
        return str(reference)

    def annotate(
        self,
        name: str,
        member: str,
        *,
        architecture: str = "",
        os: str = "",
        os_features: Sequence[str] = (),
        os_version: str = "",
        variant: str = "",
    ) -> None:
        """What the list says about the platform of a member. Raises NotFound, Invalid."""
        said = {
            "architecture": architecture,
            "os": os,
            "os.version": os_version,
            "os.features": list(os_features),
            "variant": variant,
        }
        given = {key: value for key, value in said.items() if value}
        self._lists.annotate(_named(name, "manifest list"), _named(member, "manifest"), given)

    def inspect(self, name: str, member: str = "", *, insecure: bool = False) -> dict[str, Any]:
        """The document of a list that is here, of one of its members, or of a name in a registry.

        Raises NotFound, Invalid.
        """
        members = self._lists.members(Reference.parse(name))
        if member:
            return _fields(_of(members, Reference.parse(name), Reference.parse(member)).raw)
        if members:
            return _fields(document_of(members)[1])
        return _fields(self._document(Reference.parse(name), insecure)[1].raw)

    def inspect_all(self, name: str, member: str = "", *, insecure: bool = False) -> object:
        """Docker's verbose form: an object for a manifest, of a list a list of them. Raises NotFound, Invalid."""
        reference = Reference.parse(name)
        members = self._lists.members(reference)
        if member:
            return _verbose(_of(members, reference, Reference.parse(member)))
        if members:
            return [_verbose(item) for item in members]
        registry, document = self._document(reference, insecure)
        if document.descriptor.media_type not in types.INDEXES:
            return _verbose(self._described(registry, reference, document))
        found = []
        for fields in _fields(document.raw).get("manifests", ()):
            item = Descriptor.from_json(fields)
            own = reference._replace(digest=item.digest)
            found.append(_verbose(Member(own, _ordered(fields), registry.manifest(item.digest).raw)))
        return found

    def push(
        self, name: str, *, purge: bool = False, insecure: bool = False, progress: Progress | None = None
    ) -> Digest:
        """Sends the list, and what the repository lacks of its members; its digest. Raises NotFound, Denied, ...

        ``progress`` has a note for each member that came from another repository.
        """
        from cais.engine.arriving import Layers
        from cais.engine.copy import read_graph
        from cais.engine.push import send
        from cais.spec.progress import silent

        reference = Reference.parse(name)
        members = self._lists.members(reference)
        if not members:
            raise NotFound(f"No such manifest: {reference.familiar}")
        registry = self._registry(reference, insecure, pushing=True)
        for member in members:
            own = member.reference
            if own.name != reference.name:
                source = self._registry(own, insecure)
                item = Descriptor.from_json(member.fields)
                graph = read_graph(source, item)
                by_digest = reference._replace(tag="", digest=item.digest)
                send(self._stores, registry, by_digest, source, graph, item, Layers(silent, None), own)
                if progress is not None:
                    text = f"Pushed ref {by_digest} with digest: {item.digest}"
                    progress({"event": "note", "text": text})
        media_type, raw = document_of(members)
        digest = registry.put_manifest(raw, media_type, reference.tag).digest
        if purge:
            self._lists.remove(reference)
        return digest

    def remove(self, name: str) -> None:
        """Raises NotFound."""
        self._lists.remove(Reference.parse(name))

    def _registry(self, reference: Reference, insecure: bool, *, pushing: bool = False) -> Registry:
        return self._stores.registries.repository(reference, pushing=pushing, insecure=insecure)

    def _document(self, reference: Reference, insecure: bool) -> tuple[Registry, Document]:
        registry = self._registry(reference, insecure)
        try:
            return registry, registry.manifest(reference.digest or reference.tag)
        except NotFound:
            raise NotFound(f"no such manifest: {reference.familiar}")

    def _member(self, reference: Reference, insecure: bool) -> Member:
        registry, document = self._document(reference, insecure)
        if document.descriptor.media_type in types.INDEXES:
            raise Invalid(f"{reference.familiar} is a manifest list")
        return self._described(registry, reference, document)

    @staticmethod
    def _described(registry: Registry, reference: Reference, document: Document) -> Member:
        """With the platform that the image's config says."""
        from cais.engine.copy import read_document
        from cais.spec.encoding import decode_object

        item = document.descriptor
        fields: dict[str, Any] = {"mediaType": item.media_type, "size": item.size_bytes, "digest": item.digest}
        config = Manifest.decode(document.raw, item.media_type).config
        if config.media_type in types.CONFIGS:
            raw = read_document(registry, config)
            said = decode_object(raw, "config", types.CONFIG_LIMIT_BYTES)
            keys = ("architecture", "os", "os.version", "os.features", "variant")
            fields["platform"] = {key: said[key] for key in keys if said.get(key)}
        return Member(reference, fields, document.raw)


def _named(text: str, what: str) -> Reference:
    try:
        return Reference.parse(text)
    except Invalid as error:
        raise Invalid(f"error parsing name for {what} {text[:300]}: {error.message}") from None


def _of(members: Sequence[Member], name: Reference, wanted: Reference) -> Member:
    for member in members:
        if member.reference == wanted:
            return member
    raise NotFound(f"manifest for image {wanted.familiar} does not exist in {name.familiar}")


def _fields(raw: bytes) -> dict[str, Any]:
    from cais.spec.encoding import decode_object

    return decode_object(raw, "manifest", types.MANIFEST_LIMIT_BYTES)


def _ordered(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: fields[key] for key in ("mediaType", "size", "digest", "platform") if key in fields}


def _verbose(member: Member) -> dict[str, Any]:
    from base64 import b64encode

    oci = member.fields["mediaType"] == types.OCI_MANIFEST
    described = {key: member.fields[key] for key in ("mediaType", "digest", "size", "platform") if key in member.fields}
    return {
        "Ref": str(member.reference),
        "Descriptor": described,
        "Raw": b64encode(member.raw).decode(),
        "OCIManifest" if oci else "SchemaV2Manifest": _fields(member.raw),
    }
