"""ImageConfig: what an image's containers run, and how its layers came about (image-spec config.md).

Docker's fields that OCI leaves open (Healthcheck, Shell, OnBuild, ArgsEscaped, ...) stand beside OCI's in ``run``.
"""

from __future__ import annotations

from cais.errors import Invalid
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.encoding import decode_object, encode
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


class ImageConfig:
    """Immutable. ``fields`` is the whole document; treat it as read-only, and ``replace`` to make another."""

    __slots__ = ("fields", "media_type", "raw")

    def __init__(self, fields: Mapping[str, Any], raw: bytes | None = None, media_type: str = types.OCI_CONFIG) -> None:
        self.fields = fields
        self.raw = encode(fields) if raw is None else raw
        self.media_type = media_type

    @classmethod
    def decode(cls, raw: bytes, media_type: str = types.OCI_CONFIG) -> ImageConfig:
        """Checked where Cais relies on it: the types of rootfs, history, config. Raises Invalid, Corrupt."""
        fields = decode_object(raw, "image config", types.CONFIG_LIMIT_BYTES)
        for key, kind in (("config", dict), ("rootfs", dict), ("history", list)):
            if not isinstance(fields.get(key), (kind, type(None))):
                raise Invalid(f"image config's {key} is not a{'n object' if kind is dict else ' list'}")
        run = fields.get("config") or {}
        for key in ("Env", "Cmd", "Entrypoint", "Shell", "OnBuild"):
            value = run.get(key)
            if value is not None and not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
                raise Invalid(f"image config's {key} is not a list of strings")
        for key in ("User", "WorkingDir", "StopSignal"):
            if not isinstance(run.get(key), (str, type(None))):
                raise Invalid(f"image config's {key} is not a string")
        for key in ("ExposedPorts", "Volumes", "Labels"):
            if not isinstance(run.get(key), (dict, type(None))):
                raise Invalid(f"image config's {key} is not an object")
        labels = run.get("Labels") or {}
        if not all(isinstance(value, str) for value in labels.values()):
            raise Invalid("image config's Labels are not strings")
        diff_ids = (fields.get("rootfs") or {}).get("diff_ids")
        diff_ids = [] if diff_ids is None else diff_ids
        if not isinstance(diff_ids, list) or not all(isinstance(item, str) for item in diff_ids):
            raise Invalid("image config's diff_ids are not a list of digests")
        for item in diff_ids:
            Digest.parse(item)
        for entry in fields.get("history") or []:
            if not isinstance(entry, dict):
                raise Invalid("image config's history has an entry that is not an object")
        return cls(fields, raw, media_type)

    @classmethod
    def scratch(cls, platform: Platform) -> ImageConfig:
        """The config of an image without layers."""
        return cls({**platform.to_json(), "config": {}, "rootfs": {"type": "layers", "diff_ids": []}, "history": []})

    def replace(self, **fields: Any) -> ImageConfig:
        """Another config with these top-level fields; a value of None takes the field away."""
        new = {**self.fields, **fields}
        return ImageConfig({key: value for key, value in new.items() if value is not None})

    @property
    def digest(self) -> Digest:
        """The image's id."""
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.raw))

    @property
    def platform(self) -> Platform:
        return Platform.from_json(dict(self.fields))

    @property
    def run(self) -> dict[str, Any]:
        """The ``config`` object: Env, Cmd, Entrypoint, User, WorkingDir, ..."""
        return dict(self.fields.get("config") or {})

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        return tuple(Digest(item) for item in (self.fields.get("rootfs") or {}).get("diff_ids") or ())

    @property
    def history(self) -> tuple[dict[str, Any], ...]:
        return tuple(self.fields.get("history") or ())

    @property
    def created(self) -> str:
        """RFC 3339, or ""."""
        return str(self.fields.get("created") or "")


def chain_ids(diff_ids: Iterable[Digest]) -> tuple[Digest, ...]:
    """The name of each prefix of a stack of layers (image-spec config.md#layer-chainid)."""
    chain: list[Digest] = []
    for diff_id in diff_ids:
        chain.append(Digest.of(f"{chain[-1]} {diff_id}".encode()) if chain else diff_id)
    return tuple(chain)
