"""What arrives: shown as Docker shows it, and unpacked while the rest comes."""

from __future__ import annotations

import threading

from cais.errors import Cancelled, Corrupt, Invalid, NotFound, Unsupported
from cais.host.threads import Thread
from cais.spec.digest import Digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cais.engine.stores import Stores
    from cais.ports import Progress, Source
    from cais.spec.descriptor import Descriptor
    from cais.spec.manifest import Manifest


class Layers:
    """A Progress: what ``copy`` tells of blobs, as events about layers (``cais.cli.progress_transfer``).

    ``unpacks``: what is here already may still have to be unpacked, and whoever does that says so.
    """

    def __init__(self, progress: Progress, layers: tuple[Descriptor, ...] | None, unpacks: bool = True) -> None:
        self._progress = progress
        self._shown = None if layers is None else {layer.digest: layer.size_bytes for layer in layers}
        self._unpacks = unpacks
        self.existing: set[Digest] = set()  # that were here before
        self.received = False  # whether any came

    def __call__(self, event: dict[str, object]) -> None:
        digest = event.get("digest") or event.get("what")
        if not isinstance(digest, Digest) or (self._shown is not None and digest not in self._shown):
            return
        if event["event"] == "status":
            self.tell(digest, "moving", event["current"], event["total"])
        elif event["event"] == "blob":
            state = str(event["state"])
            word = {"planned": "waiting", "received": "arrived", "exists": "exists", "mounted": "mounted"}[state]
            if word == "exists":
                self.existing.add(digest)
                if self._unpacks:
                    return
            self.received = self.received or word == "arrived"
            self.tell(digest, word, repository=event.get("repository", ""))

    def tell(self, digest: Digest, state: str, current: object = 0, total: object = 0, **more: object) -> None:
        event = {"event": "layer", "id": digest.short, "state": state, **more}
        if total:
            event.update(current=current, total=total)
        self._progress(event)


class Unpacking:
    """Unpacks the layers of one image in their order, in a thread, each while its blob arrives in ``receiver``.

    ``thorough`` is the receiver's.
    """

    def __init__(self, stores: Stores, manifest: Manifest, layers: Layers, *, thorough: bool = False) -> None:
        from cais.content.kept import Receiver

        self.receiver = Receiver(stores.content, self._begun, thorough=thorough)
        self._stores = stores
        self._manifest = manifest
        self._layers = layers
        self._here: set[Digest] = set()
        self._coming: set[Digest] = set()
        self._condition = threading.Condition()
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name="unpack", daemon=True)

    def __enter__(self) -> Unpacking:
        self._thread.start()
        return self

    def _begun(self, blob: Descriptor) -> None:
        with self._condition:
            self._coming.add(blob.digest)
            self._condition.notify_all()

    def stored(self, blob: Descriptor) -> None:
        """A blob is here. Raises what has failed since: what is left need not come then."""
        with self._condition:
            self._here.add(blob.digest)
            self._condition.notify_all()
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Waits for the last layer. Raises what went wrong."""
        self._thread.join()
        if self._error is not None:
            raise self._error

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        with self._condition:
            self._condition.notify_all()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._unpack_all()
        except BaseException as error:
            self._error = error

    def _unpack_all(self) -> None:
        from cais.image.layers import check_layer
        from cais.spec.image_config import chain_ids

        content, snapshots = self._stores.content, self._stores.snapshots
        self._wait(self._manifest.config)
        config = self._stores.images.read_config(self._manifest)
        parent: Digest | None = None
        for layer, diff_id, chain in zip(
            self._manifest.layers, config.diff_ids, chain_ids(config.diff_ids), strict=True
        ):
            comes = not (layer.extra or {}).get("urls")
            if comes:
                self._wait(layer, whole=False)
            if snapshots.hold(chain):
                if comes:
                    self._wait(layer)
                self._layers.tell(layer.digest, "exists" if layer.digest in self._layers.existing else "done")
            else:
                self._unpack(parent, layer, diff_id)
                check_layer(content, layer, diff_id)
                self._layers.tell(layer.digest, "done")
            parent = chain

    def _unpack(self, parent: Digest | None, layer: Descriptor, diff_id: Digest) -> None:
        """As it comes. Where that fails it may have been something else that came, which is asked for elsewhere: what
        has been verified decides."""
        from cais.image.layers import plain_tar

        has_come = layer.digest in self._here
        while True:
            try:
                self._stores.snapshots.unpack(parent, diff_id, plain_tar(_Watched(self.receiver, self._told), layer))
                self._wait(layer)
                return
            except (Cancelled, Corrupt, Invalid, NotFound, Unsupported):
                if has_come:
                    raise
            self._wait(layer)
            has_come = True

    def _told(self, layer: Descriptor, done: int) -> None:
        if self._stopped:
            raise Cancelled("stopped")
        if layer.digest in self._here:
            self._layers.tell(layer.digest, "unpacking", done, layer.size_bytes)

    def _wait(self, blob: Descriptor, *, whole: bool = True) -> None:
        with self._condition:
            while blob.digest not in self._here and (whole or blob.digest not in self._coming):
                if self._stopped:
                    raise Cancelled("stopped")
                self._condition.wait()


class _Watched:
    """A Source that tells how much of a blob was read."""

    def __init__(self, source: Source, tell: Callable[[Descriptor, int], None]) -> None:
        self._source = source
        self._tell = tell

    def exists(self, blob: Descriptor) -> bool:
        return self._source.exists(blob)

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        done = offset
        for piece in self._source.fetch(blob, offset):
            self._tell(blob, done)
            done += len(piece)
            yield piece
