"""Descriptor: what names a blob, its type and its size (image-spec descriptor.md)."""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KNOWN = frozenset(("mediaType", "digest", "size", "annotations", "platform", "artifactType"))


class Descriptor(NamedTuple):
    """A blob by digest, with its type and its size in bytes; of a manifest in an index also its platform."""

    media_type: str
    digest: Digest
    size_bytes: int
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    artifact_type: str = ""
    # Fields we do not know (urls and data, too): they survive a round trip.
    extra: dict[str, Any] | None = None

    @classmethod
    def from_json(cls, value: Any, what: str = "descriptor") -> Descriptor:
        """Checked: a digest, a size that is not negative, strings where strings belong. Raises Invalid."""
        if not isinstance(value, dict):
            raise Invalid(f"{what} is not an object")
        digest, size, media_type = value.get("digest"), value.get("size"), value.get("mediaType", "")
        if not isinstance(digest, str):
            raise Invalid(f"{what} has no digest")
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 1 << 63:
            raise Invalid(f"{what} {digest[:80]!r} has the impossible size {size!r}")
        annotations, platform = value.get("annotations"), value.get("platform")
        artifact_type = value.get("artifactType", "")
        if annotations is not None and not (
            isinstance(annotations, dict) and all(isinstance(text, str) for text in annotations.values())
        ):
            raise Invalid(f"{what} {digest[:80]!r} has annotations that are not strings")
        if not isinstance(media_type, str) or not isinstance(artifact_type, str):
            raise Invalid(f"{what} {digest[:80]!r} has a media type that is not a string")
        if platform is not None and not isinstance(platform, dict):
            raise Invalid(f"{what} {digest[:80]!r} has a platform that is not an object")
        extra = {key: item for key, item in value.items() if key not in _KNOWN}
        return cls(
            media_type, Digest.parse(digest), size, annotations,
            Platform.from_json(platform) if platform is not None else None, artifact_type, extra or None,
        )  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size_bytes}
        if self.annotations is not None:
            value["annotations"] = self.annotations
        if self.platform is not None:
            value["platform"] = self.platform.to_json()
        if self.artifact_type:
            value["artifactType"] = self.artifact_type
        if self.extra:
            value.update(self.extra)
        return value
