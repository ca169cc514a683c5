"""Removing images with Docker's rules: a name is taken away first, and the image goes with its last name."""

from __future__ import annotations

from cais.content.tags import tag_key
from cais.errors import Conflict, Corrupt, NotFound
from cais.image import filters as filtering
from cais.spec.digest import Digest
from cais.spec.image_config import chain_ids
from cais.spec.named import NamedTuple
from cais.spec.reference import Reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cais.host.database import Transaction
    from cais.image.records import ImageRecord
    from cais.image.store import Images

    # The containers of the image with this id.
    UsersOf = Callable[[Digest], Sequence["User"]]

Removed = tuple[str, str]  # ("Untagged" | "Deleted", what)


class User(NamedTuple):
    """A container of an image."""

    container_id: str
    running: bool


def remove(images: Images, name_or_id: str, users_of: UsersOf, *, force: bool = False) -> list[Removed]:
    """By a name: takes it away, and the image with its last one. By an id: all names of one repository, else forced.

    Raises NotFound, and Conflict in Docker's words when containers use it or it has names in several repositories.
    """
    with images.database.transaction() as change:
        record = images.resolve(name_or_id)
        names = images.names(record.id)
        users = users_of(record.id)
        if not _is_name(name_or_id, record):
            _check(record.id, names, users, force=force)
            return [*(("Untagged", name.familiar) for name in names), *_delete(images, change, record.id)]
        reference = Reference.parse(name_or_id)
        if not force and len(names) <= 1 and users:
            raise Conflict(
                f'conflict: unable to remove repository reference "{name_or_id}" (must force) - container '
                f"{users[0].container_id[:12]} is using its referenced image {record.id.short}"
            )
        aimed = [reference]
        if reference.digest is not None:
            aimed = [name for name in images.tags.names_of(record.target.digest) if name.name == reference.name]
        for name in aimed:
            change.execute("DELETE FROM tags WHERE name = ? AND tag = ?", (name.name, tag_key(name)))
        removed: list[Removed] = [("Untagged", name.familiar) for name in aimed]
        if images.names(record.id):
            forget_superseded(images, change, record.id)
        elif not users or (force and not any(user.running for user in users)):
            removed += _delete(images, change, record.id)
        # else the containers keep their image, now without a name
        return removed


def _is_name(text: str, record: ImageRecord) -> bool:
    """Whether ``text`` was resolved as a name: what is no start of the image's id (Docker asks the same way)."""
    digits = text.removeprefix("sha256:")
    return not (record.id.hex.startswith(digits) or record.target.digest.hex.startswith(digits))


def _check(id: Digest, names: Sequence[Reference], users: Sequence[User], *, force: bool) -> None:
    running = next((user for user in users if user.running), None)
    if running is not None:
        raise Conflict(
            f"conflict: unable to delete {id.short} (cannot be forced) - image is being used by running container "
            f"{running.container_id[:12]}"
        )
    if force:
        return
    if len(names) > 1:
        raise Conflict(
            f"conflict: unable to delete {id.short} (must be forced) - image is referenced in multiple repositories"
        )
    if users:
        raise Conflict(
            f"conflict: unable to delete {id.short} (must be forced) - image is being used by stopped container "
            f"{users[0].container_id[:12]}"
        )


def _delete(images: Images, change: Transaction, id: Digest) -> list[Removed]:
    """Takes away all names and records of an image. Its blobs and snapshots are the collector's."""
    chains = _chains(images, id)
    for record in images.records.by_id(id):
        change.execute("DELETE FROM tags WHERE digest = ?", (record.target.digest,))
        images.records.remove(change, record.target.digest)
    images.records.forget_layer_contents(change)
    kept = _chains_in_use(images, chains)
    return [("Deleted", id), *(("Deleted", chain) for chain in reversed(chains) if chain not in kept)]


def _chains(images: Images, id: Digest) -> tuple[Digest, ...]:
    try:
        _, config = images.read_manifest(images.records.by_id(id)[0].manifest)
    except (NotFound, Corrupt):
        return ()  # a damaged store must not keep its images from being removed
    return chain_ids(config.diff_ids)


def _chains_in_use(images: Images, chains: Sequence[Digest]) -> set[str]:
    """Which of ``chains`` an image that is still there has, too."""
    if not chains:
        return set()
    marks = ",".join("?" * len(chains))
    rows = images.database.rows(
        f"""SELECT DISTINCT edges.child FROM edges
            JOIN images ON images.id = edges.parent WHERE edges.child IN ({marks})""",
        [f"chain:{chain}" for chain in chains],
    )
    return {str(row[0]).removeprefix("chain:") for row in rows}


def forget_superseded(images: Images, change: Transaction, id: Digest) -> None:
    """Of an image with names, the targets without one are of no use: the same image, packed in another way."""
    records = images.records.by_id(id)
    named = [record for record in records if images.tags.names_of(record.target.digest)]
    for record in records:
        if named and record not in named:
            images.records.remove(change, record.target.digest)


def prune(
    images: Images,
    users_of: UsersOf,
    *,
    all: bool = False,
    filters: Mapping[str, Sequence[str]] | None = None,
    now: float,
) -> list[Removed]:
    """Removes images without a name; with ``all`` (or ``dangling=false``) all that no container uses.

    ``now`` in seconds since 1970, for ``until``. Raises Invalid for an unknown filter.
    """
    filters = filters or {}
    filtering.check_keys(filters, filtering.PRUNE_KEYS)
    dangling_only = not all and filtering.truth(filters, "dangling") is not False
    passes = filtering.record_filter(filters, now, lambda name: images.resolve(name).created)
    removed: list[Removed] = []
    for id in {record.id: None for record in images.records.all()}:
        with images.database.transaction() as change:
            if not images.records.by_id(id):
                continue  # somebody else was faster
            names = images.names(id)
            if (dangling_only and names) or users_of(id) or not passes(images.of_id(id)):
                continue
            removed += [("Untagged", name.familiar) for name in names]
            removed += _delete(images, change, id)
    return removed
