"""Images without a name in the store: of an image layout (``--build-context name=oci-layout://path:tag``), of another
build."""

from __future__ import annotations

import hashlib
import os

from cais.engine.stores import Stores
from cais.errors import Invalid, NotFound
from cais.host.files import read_start
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Index
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform
from cais.spec.progress import silent
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.image.archive import Layout
    from cais.image.store import Image

SCHEME = "oci-layout://"
_TAG = "org.opencontainers.image.ref.name"


class Layouted(NamedTuple):
    """One image of the layout in ``directory``; ``reference`` is what lowering calls it, in full."""

    directory: str
    reference: str
    target: Descriptor

    def receive(self, stores: Stores, platform: Platform) -> Image:
        """Copies it to the store, verified, for as long as this process works. Raises NotFound, Invalid, Corrupt."""
        from cais.image.load import receive

        receive(stores.images, _layout(stores, self.directory), self.target)
        return stores.images.of_target(self.target, platform)


class Linked(NamedTuple):
    """What another build has made and holds; ``reference`` is what lowering calls it, in full."""

    reference: str
    target: Descriptor

    @classmethod
    def of(cls, name: str, target: Descriptor) -> Linked:
        return cls(_reference(name, target), target)

    def receive(self, stores: Stores, platform: Platform) -> Image:
        """Raises NotFound where it was made for several platforms, and not for ``platform``."""
        if self.target.media_type not in types.INDEXES:
            from cais.image.store import Image

            manifest, config = stores.images.read_manifest(self.target)
            return Image(config.digest, self.target, manifest, config, ())
        return stores.images.of_target(self.target, platform)


def layouted(stores: Stores, name: str, value: str) -> Layouted:
    """The image that ``value`` (``oci-layout://path[:tag][@digest]``) says. Raises NotFound, Invalid."""
    rest, _, digest = value.removeprefix(SCHEME).partition("@")
    directory, colon, tag = rest.partition(":")
    if not os.path.isdir(directory):
        raise NotFound(f"failed to get build context {name}: stat {directory}: no such file or directory")
    layout = _layout(stores, directory)
    known = Index.decode(layout.documents["index.json"]).manifests
    if digest:
        wanted = Digest.parse(digest)
        target = next((item for item in known if item.digest == wanted), None) or _blob(layout, directory, wanted)
    else:
        tag = tag or "latest"
        found = [item for item in known if (item.annotations or {}).get(_TAG, "") == tag]
        if not found and not colon and len(known) == 1:
            found = list(known)  # what else could be meant
        if not found:
            tags = sorted({(item.annotations or {}).get(_TAG, "") for item in known} - {""})
            raise NotFound(
                f"failed to get build context {name}: the oci-layout reference {tag!r} is not in {directory}",
                hint=f"Its tags are: {', '.join(tags[:20])}." if tags else "It has no tags: add @ and a digest.",
            )
        target = found[0]
    return Layouted(directory, _reference(name, target), target)


def _reference(name: str, target: Descriptor) -> str:
    return str(Reference.parse(name.partition("::")[0])._replace(tag="", digest=target.digest))


def _layout(stores: Stores, directory: str) -> Layout:
    from cais.image.archive import Layout

    return Layout(stores.content, directory, silent)


def _blob(layout: Layout, directory: str, digest: Digest) -> Descriptor:
    """Of a manifest that the index does not name."""
    import json

    path = os.path.join(directory, "blobs", digest.algorithm, digest.hex)
    try:
        raw = read_start(path, types.MANIFEST_LIMIT_BYTES + 1)
        value = json.loads(raw)
    except (OSError, ValueError, RecursionError):
        raise NotFound(f"the layout {directory} has no manifest {digest}")
    media_type = value.get("mediaType") if isinstance(value, dict) else None
    if not isinstance(media_type, str):
        media_type = types.OCI_INDEX if isinstance(value, dict) and "manifests" in value else types.OCI_MANIFEST
    if len(raw) > types.MANIFEST_LIMIT_BYTES or hashlib.new(digest.algorithm, raw).hexdigest() != digest.hex:
        raise Invalid(f"the manifest {digest} of the layout {directory} is not what its name says")
    return Descriptor(media_type, digest, len(raw))
