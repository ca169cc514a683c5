"""``system check``: everything kept is what its record says; and mending of what can be mended.

What a killed process left half done is no damage: it is garbage that nobody sees, and the next collector removes it.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator

from cais.engine.container_runs import ContainerRuns
from cais.engine.stores import Stores
from cais.errors import CaisError
from cais.spec.digest import Digest
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.image.store import Image
    from cais.sources.store import Kept


class Finding(NamedTuple):
    """``subject`` is what is damaged (``blob sha256:..``), ``problem`` how; ``mended`` says what was done, or ""."""

    subject: str
    problem: str
    mended: str = ""


def check(stores: Stores, *, repair: bool = False) -> list[Finding]:
    """All that is wrong, in the order: database, blobs, snapshots, images, build records, containers, volumes,
    networks, what was fetched."""
    stores.database.require_own()
    findings = [Finding("the database", text) for text in stores.database.integrity_errors()]
    if findings:
        return findings  # what a damaged database says of the rest is worth nothing
    # Before the first thread; where the containers are, and so the bridges between them.
    ContainerRuns(stores).reach()
    stores.snapshots.reach()
    findings += _blobs(stores, repair)
    findings += _snapshots(stores, repair)
    findings += _images(stores, repair)
    findings += _build_records(stores, repair)
    findings += _containers(stores, repair)
    findings += _volumes(stores, repair)
    findings += _networks(stores, repair)
    findings += _fetched(stores, repair)
    if repair:
        from cais.engine.collect import collect

        collect(stores)
    return findings


def _in_threads(work: Callable[[Any], str], items: Iterable[Any], close: Callable[[], None]) -> list[tuple[Any, str]]:
    """``work`` gives what is wrong with an item, or ""; the items with something wrong, in their order."""
    todo = list(items)
    problems: dict[int, str] = {}
    errors: list[BaseException] = []
    lock = threading.Lock()
    position = iter(range(len(todo)))

    def run() -> None:
        while True:
            with lock:
                index = next(position, None)
            if index is None:
                return
            problems[index] = work(todo[index])

    def run_and_close() -> None:
        try:
            run()
        except BaseException as error:
            errors.append(error)  # what was not looked at is not called sound
        finally:
            close()

    threads = [threading.Thread(target=run_and_close) for _ in range(len(os.sched_getaffinity(0)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return [(todo[index], problems[index]) for index in sorted(problems) if problems[index]]


def _blobs(stores: Stores, repair: bool) -> list[Finding]:
    def problem(blob: tuple[Digest, int]) -> str:
        digest, size = blob
        path = stores.content.path(digest)
        hasher = hashlib.new(digest.algorithm)
        try:
            with open(path, "rb", buffering=0) as file:
                found = os.fstat(file.fileno()).st_size
                if found != size:
                    return f"has {found} bytes instead of {size}"
                while piece := file.read(1 << 20):
                    hasher.update(piece)
        except FileNotFoundError:
            return "" if stores.content.size_of(digest) is None else "has no file"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return "" if hasher.hexdigest() == digest.hex else "has another content than its digest says"

    findings = []
    for (digest, _), text in _in_threads(problem, stores.content.digests(), stores.database.close):
        mended = ""
        if repair:
            with stores.database.transaction() as change:
                change.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
            try:
                os.unlink(stores.content.path(digest))
            except FileNotFoundError:
                pass
            mended = "removed"
        findings.append(Finding(f"blob {digest}", text, mended))
    return findings


def _snapshots(stores: Stores, repair: bool) -> list[Finding]:
    rows = stores.database.rows(
        """SELECT id, chain_id, parent, diff_id, coalesce(files, id), unpacked, packed NOTNULL
           FROM snapshots WHERE chain_id NOTNULL"""
    )
    received = _received_layers(stores)
    needed = _chains_of_images(stores)

    def problem(row: tuple[str, str, str | None, str, str, int, int]) -> str:
        _, chain, parent, diff_id, directory, unpacked, packed = row
        try:
            if packed:
                return "" if _digest(stores.snapshots.pack(Digest(chain))) == diff_id else "has a blob with other files"
            if not os.path.isdir(os.path.join(stores.snapshots.directory, directory, "fs")):
                return "has no directory"
            found = _digest(stores.snapshots.pack(Digest(chain)))
            if found == diff_id:
                return ""
            if diff_id in received:
                # Another wrote the tar: ours of the same files has other bytes. Unpacked again, it must give the same.
                again = stores.snapshots.repacked(Digest(parent) if parent else None, received[diff_id]())
                return "" if found == again else "has other files than its layer"
            if parent and stores.snapshots.on_nothing([Digest(diff_id)]):
                # Made on nothing, and unpacked upon this parent, where some of it may have been there already.
                again = stores.snapshots.repacked(Digest(parent), stores.snapshots.pack(Digest(diff_id)))
                return "" if found == again else "has other files than its layer"
            if unpacked and chain not in needed:
                # Its tar is gone, or never came to its end (a pull was killed): nothing here says how that was written.
                return ""
            return "has other files than its digest says"
        except CaisError as error:
            return error.message
        except OSError as error:
            return f"cannot be read: {error.strerror}"

    findings = []
    for (id, chain, *_), text in _in_threads(problem, rows, stores.database.close):
        if stores.database.row("SELECT 1 FROM snapshots WHERE id = ?", (id,)) is None:
            continue  # removed by another command meanwhile
        mended = ""
        if repair:
            stores.snapshots.remove(id)
            mended = "removed: it is unpacked or built again when needed"
        findings.append(Finding(f"snapshot {chain}", text, mended))
    return findings


def _chains_of_images(stores: Stores) -> set[str]:
    rows = stores.database.rows(
        """WITH RECURSIVE needed(chain) AS (
               SELECT chain FROM images
               UNION SELECT parent FROM snapshots JOIN needed ON chain_id = chain WHERE parent NOTNULL
           ) SELECT chain FROM needed"""
    )
    return {row[0] for row in rows}


def _digest(pieces: Iterable[bytes]) -> str:
    hasher = hashlib.sha256()
    for piece in pieces:
        hasher.update(piece)
    return "sha256:" + hasher.hexdigest()


def _received_layers(stores: Stores) -> dict[str, Callable[[], Iterator[bytes]]]:
    """For each diff_id of a layer that is kept as a blob: its plain tar."""
    from cais.image.layers import LayerSource, plain_tar

    source = LayerSource(stores.content, stores.snapshots)
    found: dict[str, Callable[[], Iterator[bytes]]] = {}
    for image in _readable_images(stores):
        for layer, diff_id in zip(image.manifest.layers, image.config.diff_ids, strict=False):
            if stores.content.exists(layer):
                found[diff_id] = lambda layer=layer: plain_tar(source, layer)  # type: ignore[misc]
    return found


def _readable_images(stores: Stores) -> Iterator[Image]:
    for (target,) in stores.database.rows("SELECT target FROM images"):
        record = stores.images.records.by_target(Digest(target))
        try:
            if record is not None:
                yield stores.images.read(record)
        except CaisError:
            continue  # reported by _images


def _images(stores: Stores, repair: bool) -> list[Finding]:
    """Images and names whose blobs or layers are gone. Mending removes them: what is lost cannot be made again here."""
    findings = []
    for name, tag, digest in stores.database.rows(
        "SELECT name, tag, digest FROM tags WHERE digest NOT IN (SELECT target FROM images)"
    ):
        mended = ""
        if repair:
            with stores.database.transaction() as change:
                change.execute("DELETE FROM tags WHERE name = ? AND tag = ?", (name, tag))
            mended = "removed"
        findings.append(Finding(f"name {name}:{tag}", f"points at {digest}, which is not there", mended))
    from cais.image.layers import LayerSource

    source = LayerSource(stores.content, stores.snapshots)
    for (target,) in stores.database.rows("SELECT target FROM images"):
        record = stores.images.records.by_target(Digest(target))
        if record is None:
            continue
        try:
            image = stores.images.read(record)
            missing = [layer.digest for layer in image.manifest.layers if not source.exists(layer)]
            text = f"lacks {', '.join(missing)}" if missing else ""
        except CaisError as error:
            text = error.message
        if text:
            mended = ""
            if repair:
                with stores.database.transaction() as change:
                    change.execute("DELETE FROM tags WHERE digest = ?", (target,))
                    change.execute("DELETE FROM images WHERE target = ?", (target,))
                mended = "removed: build, load or pull it again"
            findings.append(Finding(f"image {record.id}", text, mended))
    return findings


def _build_records(stores: Stores, repair: bool) -> list[Finding]:
    missing = "chain_id NOT IN (SELECT chain_id FROM snapshots WHERE chain_id NOTNULL)"
    rows = stores.database.rows(f"SELECT DISTINCT chain_id FROM build_records WHERE {missing}")
    if rows and repair:
        with stores.database.transaction() as change:
            change.execute(f"DELETE FROM build_records WHERE {missing}")
    mended = "forgotten: the step will be built again" if repair else ""
    return [Finding(f"build record of {chain}", "its snapshot is not there", mended) for (chain,) in rows]


def _containers(stores: Stores, repair: bool) -> list[Finding]:
    from cais.engine.containers import Containers

    return [Finding(*item) for item in Containers(stores).check(repair=repair)]


def _volumes(stores: Stores, repair: bool) -> list[Finding]:
    from cais.engine.volumes import Volumes

    return [Finding(*item) for item in Volumes(stores).check(repair=repair)]


def _networks(stores: Stores, repair: bool) -> list[Finding]:
    from cais.engine.networks import Networks

    return [Finding(*item) for item in Networks(stores).check(repair=repair)]


def _fetched(stores: Stores, repair: bool) -> list[Finding]:
    """Files by their digests; of unpacked and checked out trees, and of repositories, that they are there."""
    from cais.sources.files import file_of

    def problem(kept: Kept) -> str:
        try:
            if kept.kind != "file":
                return "" if os.path.isdir(kept.path) else "has no directory"
            with open(file_of(kept), "rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            return "has no file"
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        return "" if found == kept.facts.get("sha256") else "has another content than was fetched"

    findings = []
    for kept, text in _in_threads(problem, stores.sources.all(), stores.database.close):
        if not any(other.id == kept.id for other in stores.sources.all()):
            continue  # forgotten or replaced meanwhile
        if repair:
            stores.sources.forget([kept.key])
        findings.append(Finding(f"the {kept.kind} of {kept.shown}", text, "forgotten" if repair else ""))
    return findings
