"""Ports: what the rooms ask of each other, on one page. Each has one to three methods, and one test suite over all its
implementations (``tests/suites``)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar

from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.mount import Mount
from cais.spec.progress import Progress as Progress
from cais.spec.reference import Reference


class Source(Protocol):
    """Where blobs come from. It may produce a blob instead of reading it; nobody above notices."""

    def exists(self, blob: Descriptor) -> bool: ...

    def fetch(self, blob: Descriptor, offset: int = 0) -> Iterator[bytes]:
        """The bytes from ``offset`` on, in pieces of any size. Raises NotFound. Not verified: a Sink verifies."""
        ...


class Choosy(Source, Protocol):
    """A Source that has a choice of places: mirrors, and what they are mirrors of."""

    def distrust(self, blob: Descriptor) -> bool:
        """What it gave as ``blob`` was something else. Returns whether another place gives it from now on."""
        ...


class Sink(Protocol):
    """Where blobs go."""

    def exists(self, blob: Descriptor) -> bool: ...

    def push(self, blob: Descriptor, pieces: Iterator[bytes]) -> None:
        """Returning means that it is stored, whoever stored it. Raises Corrupt when size or digest is another."""
        ...


class Taker(Sink, Protocol):
    """A Sink that asks the source itself, because it may want the bytes from an offset, or a second time: a store that
    kept what came before a connection broke, a registry whose upload broke."""

    def take(self, blob: Descriptor, source: Source) -> str:
        """As ``push``. Returns where the blob was found instead (a repository that it was mounted from), or ""."""
        ...


class Follower(Protocol):
    """Reads a blob from its file while that is written; it may fail without harm, as the file stays."""

    def written(self, size_bytes: int, read_bytes: int) -> None:
        """So long is the file by now; ``read_bytes`` is how much was read of what the blob is made of."""
        ...

    def finish(self, blob: Descriptor | None) -> None:
        """What it has become; None where making it failed."""
        ...


class Tags(Protocol):
    """Names that point at manifests and indexes."""

    def resolve(self, reference: Reference) -> Descriptor:
        """Raises NotFound."""
        ...

    def tag(self, reference: Reference, target: Descriptor) -> None: ...

    def list(self) -> Sequence[tuple[Reference, Descriptor]]: ...


class Prepared(Protocol):
    """A writable file system on top of a chain of layers, not yet visible to anyone."""

    @property
    def id(self) -> str: ...

    @property
    def mounts(self) -> tuple[Mount, ...]: ...


class Layer(Protocol):
    """A committed layer; ``size_bytes`` is that of its plain tar."""

    @property
    def chain_id(self) -> Digest: ...

    @property
    def diff_id(self) -> Digest: ...

    @property
    def size_bytes(self) -> int: ...


P = TypeVar("P", bound=Prepared)


class Snapshots(Protocol[P]):
    """File systems by the chain id of their layers. Nothing here says that a layer is a directory."""

    def prepare(self, parent: Digest | None) -> P:
        """Raises NotFound when there is no such parent."""
        ...

    def commit(self, prepared: P, *, epoch: int | None = None) -> Layer:
        """What changed becomes a layer, and is visible. ``epoch``: newer modification times become this one."""
        ...

    def remove(self, id: str) -> None: ...


class Bundle(Protocol):
    """A directory for one run; the root file system is mounted on its ``rootfs``."""

    @property
    def id(self) -> str: ...

    @property
    def rootfs(self) -> str: ...


B = TypeVar("B", bound=Bundle)


class Runner(Protocol[B]):
    """Runs one process in a root file system: a build step and a container run the same way."""

    def bundle(self) -> B: ...

    def run(self, spec: dict[str, Any], bundle: B, *, stdio: tuple[int, int, int]) -> int:
        """An OCI runtime spec; returns the exit code.

        Raises Unavailable when there is no runtime; an error with exit code 126 or 127 when the process did not start.
        """
        ...

    def remove(self, bundle: B) -> None: ...
