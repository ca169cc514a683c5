"""The document of an exported build cache: which keys have which layer as result. Pure.

A layer says what stands below it and what changes it makes; its chain id follows from that, so that no document can
claim another. Keys are digests of what a step is made of, the same on every machine; nothing else of a build is in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cais.build.records import Record
from cais.errors import Invalid
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import decode_object, encode
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MEDIA_TYPE = "application/vnd.cais.buildcache.v1+json"
# The field of an image's config that has the same for its own layers (--cache-to type=inline).
INLINE_FIELD = "cais.buildcache.v1"
CONFIG_LIMIT_BYTES = 8 << 20
_KEYS_LIMIT = 64
_HEX = frozenset("0123456789abcdef")


class CachedLayer(NamedTuple):
    """``keys`` are those of the records with this result. ``blob`` is the layer as it was stored."""

    keys: tuple[str, ...]
    parent: Digest | None
    diff_id: Digest
    size_bytes: int
    newest: int
    blob: Descriptor | None = None

    @property
    def chain(self) -> Digest:
        """The chain id."""
        return self.diff_id if self.parent is None else Digest.of(f"{self.parent} {self.diff_id}".encode())

    def record(self, key: str) -> Record:
        """As found by ``key``: without what only the step itself knows."""
        return Record(key, "", self.chain, self.diff_id, self.size_bytes, self.newest, {})


def encode_config(layers: Iterable[CachedLayer]) -> bytes:
    """The document; its layers stand in the order of those of the manifest."""
    return encode({"version": 1, "layers": [_to_json(layer) for layer in layers]})


def decode_config(raw: bytes, blobs: Sequence[Descriptor]) -> list[CachedLayer]:
    """Raises Invalid or Corrupt."""
    document = decode_object(raw, "cache config", CONFIG_LIMIT_BYTES)
    if document.get("version") != 1:
        raise Invalid(f"the cache config has the version {document.get('version')!r}; only 1 is known")
    layers = document.get("layers")
    if not isinstance(layers, list) or len(layers) != len(blobs):
        raise Invalid("the cache config does not have as many layers as its manifest")
    return [_from_json(item, blob) for item, blob in zip(layers, blobs, strict=True)]


def encode_inline(layers: Iterable[CachedLayer | None]) -> list[Any]:
    """For each layer of an image, what is known of it; None for those of its base."""
    return [None if layer is None else _to_json(layer) for layer in layers]


def decode_inline(value: Any, chains: Sequence[Digest], diff_ids: Sequence[Digest]) -> list[CachedLayer]:
    """What the config of an image with these layers says. Raises Invalid where it fits them not."""
    if not isinstance(value, list) or len(value) != len(diff_ids):
        raise Invalid("the cache in the image's config does not have as many layers as the image")
    found = []
    for number, item in enumerate(value):
        if item is None:
            continue
        layer = _from_json(item, None)
        if layer.diff_id != diff_ids[number] or layer.chain != chains[number]:
            raise Invalid("the cache in the image's config is that of other layers")
        found.append(layer)
    return found


def _to_json(layer: CachedLayer) -> dict[str, Any]:
    value: dict[str, Any] = {"keys": sorted(layer.keys), "diff_id": layer.diff_id, "size": layer.size_bytes}
    if layer.parent is not None:
        value["parent"] = layer.parent
    if layer.newest:
        value["newest"] = layer.newest
    return value


def _from_json(value: Any, blob: Descriptor | None) -> CachedLayer:
    if not isinstance(value, dict):
        raise Invalid("a layer of the cache config is not an object")
    keys, parent, diff_id = value.get("keys"), value.get("parent"), value.get("diff_id")
    size, newest = value.get("size"), value.get("newest", 0)
    if not isinstance(keys, list) or len(keys) > _KEYS_LIMIT or not all(_is_key(key) for key in keys):
        raise Invalid("a layer of the cache config has keys that are none")
    if not isinstance(diff_id, str) or not (parent is None or isinstance(parent, str)):
        raise Invalid("a layer of the cache config has no digests")
    if not isinstance(size, int) or not 0 <= size < 1 << 62 or not isinstance(newest, int) or abs(newest) >= 1 << 62:
        raise Invalid("a layer of the cache config has an impossible size or time")
    below = None if parent is None else Digest.parse(parent)
    return CachedLayer(tuple(keys), below, Digest.parse(diff_id), size, newest, blob)


def _is_key(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and _HEX.issuperset(value)
