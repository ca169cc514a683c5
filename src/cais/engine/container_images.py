"""Of which image containers are: its name today, and whether it was built upon another."""

from __future__ import annotations

from cais.engine.stores import Stores
from cais.errors import CaisError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cais.container.views import ContainerSummary
    from cais.spec.image_config import ImageConfig


def named_as_now(stores: Stores, rows: list[ContainerSummary]) -> list[ContainerSummary]:
    """With the id for a name that has gone to another image since, or is nobody's, as Docker shows them."""
    ids: dict[str, str] = {}
    for name in {row.image for row in rows}:
        ids[name] = _id_of(stores, name)
    return [row if _is_still(row, ids[row.image]) else row._replace(image=row.image_id) for row in rows]


def of_ancestors(stores: Stores, names: Iterable[str], ids: Iterable[str]) -> list[str]:
    """Those of ``ids``, of images, that are one of ``names`` or were built upon it."""
    configs = []
    for name in names:
        try:
            configs.append(stores.images.get(name, hold=False).config)
        except CaisError:
            continue
    found = []
    for id in ids if configs else ():
        try:
            own = stores.images.get(id, hold=False).config
        except CaisError:
            continue  # the image was removed under its container
        if any(_begins_with(own, config) for config in configs):
            found.append(id)
    return found


def _begins_with(config: ImageConfig, base: ImageConfig) -> bool:
    """What was built upon an image begins with its history and its layers."""
    steps, layers = len(base.history), len(base.diff_ids)
    if config.digest == base.digest:
        return True
    is_longer = len(config.history) > steps > 0
    return is_longer and config.history[:steps] == base.history and config.diff_ids[:layers] == base.diff_ids


def _id_of(stores: Stores, name: str) -> str:
    """ "" where it is no name of an image."""
    from cais.spec.reference import Reference

    try:
        reference = Reference.parse(name)
    except CaisError:
        return ""
    # The store of images would do, but a list of containers need not load it.
    row = stores.database.row(
        "SELECT images.id FROM tags JOIN images ON images.target = tags.digest WHERE tags.name = ? AND tags.tag = ?",
        (reference.name, reference.tag),
    )
    return row[0] if row is not None else ""


def _is_still(row: ContainerSummary, id: str) -> bool:
    given = row.image.removeprefix("sha256:")
    return id == row.image_id or "@" in given or row.image_id.removeprefix("sha256:").startswith(given)
