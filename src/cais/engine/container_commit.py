"""``container commit``: a container's changes and its image, as a new image."""

from __future__ import annotations

import time
from collections.abc import Sequence

from cais.container.commit import commit_layer
from cais.container.plan import Plan
from cais.container.prepare import Rooms
from cais.container.records import ContainerRecord
from cais.engine.changes import changed
from cais.engine.stores import Stores
from cais.errors import Invalid
from cais.image.assemble import Base, NewLayer, assemble, store
from cais.spec import timestamp
from cais.spec.digest import Digest
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.snapshot.store import Layer
    from cais.spec.manifest import Manifest


def commit(
    stores: Stores,
    rooms: Rooms,
    record: ContainerRecord,
    *,
    reference: str,
    author: str,
    message: str,
    changes: Sequence[str],
    pause: bool,
) -> str:
    """The id of the new image. ``pause``: the container stands still meanwhile. Raises Invalid, NotFound, ..."""
    names = [Reference.parse(reference)] if reference else []
    if names and names[0].digest is not None:
        raise Invalid(f"cannot commit as {reference!r}: a name with a digest cannot be given")
    if names and names[0].familiar_name == "sha256":
        raise Invalid("refusing to create an ambiguous tag using digest algorithm as name")
    base = _base(stores, record)
    plan = Plan.from_json(record.plan)
    run = changed(_run_config(base, plan), changes)
    layer = _paused_layer(rooms, record, pause)
    created = timestamp.format(time.time())
    history: dict[str, Any] = {"created": created, "created_by": " ".join(plan.command)}
    if author:
        history["author"] = author
    if message:
        history["comment"] = message
    assembled = assemble(
        base, [NewLayer(layer.diff_id, layer.size_bytes)], run, [history],
        created=created, author=author, platform=None if base is not None else stores.platform,
    )  # fmt: skip
    stores.images.register(store(stores.content, assembled), names)
    return assembled.config.digest


def _paused_layer(rooms: Rooms, record: ContainerRecord, pause: bool) -> Layer:
    paused = pause and rooms.runtime.host.cgroups_writable and rooms.runtime.command("pause", record.id) == 0
    try:
        return commit_layer(rooms, record)
    finally:
        if paused:
            rooms.runtime.command("resume", record.id)


def _base(stores: Stores, record: ContainerRecord) -> Base | None:
    if not record.manifest:
        return None
    manifest, config = stores.images.read_manifest(_descriptor(stores, Digest(record.manifest)))
    return Base(config, manifest)


def _descriptor(stores: Stores, digest: Digest) -> Any:
    from cais.spec import manifest as documents
    from cais.spec import media_types as types

    raw = stores.content.read(digest, types.MANIFEST_LIMIT_BYTES)
    document: Manifest | documents.Index = documents.decode(raw)
    return document.descriptor._replace(digest=digest)


def _run_config(base: Base | None, plan: Plan) -> dict[str, Any]:
    """The image's config with what the container was given over it, as Docker has it."""
    run: dict[str, Any] = dict(base.config.run) if base is not None else {}
    run["Env"] = [item for item in plan.env if "=" in item] or None
    run["Entrypoint"] = list(plan.entrypoint) or None
    run["Cmd"] = list(plan.command) or None
    run["User"] = plan.user or None
    run["WorkingDir"] = plan.cwd if plan.cwd != "/" or run.get("WorkingDir") else None
    run["Labels"] = dict(plan.labels) or None
    if plan.stop_signal != "SIGTERM" or run.get("StopSignal"):
        run["StopSignal"] = plan.stop_signal
    anonymous: dict[str, Any] = {point.target: {} for point in plan.mounts if point.anonymous}
    if anonymous:
        run["Volumes"] = {**(run.get("Volumes") or {}), **anonymous}
    return {key: value for key, value in run.items() if value is not None}
