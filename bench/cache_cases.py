"""The cases of a build cache that is carried elsewhere: in a directory, and in a registry."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import TYPE_CHECKING

from cases import Case, nothing, prepare_copy
from distribution_cases import registry
from peers import Build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cases import Work
    from peers import Peer

# The first container shows what a lazy import has put off.
CARRIED = ("export", "import", "export and import", "import and first run", "import once more, the context known")
TARGETS = (None, None, 0.5, None, None)


@contextlib.contextmanager
def empty_place(work: Work, peer: Peer, target: str) -> Iterator[str]:
    """A directory, or the address of a registry, that has nothing yet."""
    if target.startswith("type=registry"):
        with registry(work, peer.place) as address:
            yield address
        return
    directory = work.fresh("carried")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def carry_to(target: str, source: str) -> Callable[[Work, Peer], list[float]]:
    """Out of a builder and into it again, when it has nothing left but the base image: ``target`` and ``source`` are
    what --cache-to and --cache-from are told."""

    def carry(work: Work, peer: Peer) -> list[float]:
        with empty_place(work, peer, target) as place:
            tag = "bench-carried"
            plain = Build(work.context, tag, work.path("dockerfiles", "copy"))
            exporting = plain._replace(more=("--cache-to", target.format(place)))
            importing = plain._replace(more=("--cache-from", source.format(place)))
            peer.build(plain).ok()
            out = peer.build(exporting).ok().seconds
            peer.forget_builds(tag)
            os.sync()
            back = peer.build(importing).ok().seconds
            first = peer.run(tag, "none").ok().seconds
            peer.forget_builds(tag, "--filter", "type=regular")
            os.sync()
            again = peer.build(importing).ok().seconds
            peer.forget_builds(tag)
            return [out, back, out + back, back + first, again]

    return carry


CACHE_CASES = (
    Case("carry", "build cache of 20,000 files in a directory", CARRIED, TARGETS, "carries",
         prepare_copy, nothing, carry_to("type=local,dest={},mode=max", "type=local,src={}")),
    Case("carry-registry", "build cache of 20,000 files in a registry", CARRIED, TARGETS, "carries",
         prepare_copy, nothing, carry_to("type=registry,ref={}/cache,mode=max", "type=registry,ref={}/cache")),
)  # fmt: skip
