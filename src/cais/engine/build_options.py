"""BuildOptions: what ``image build`` is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


class BuildOptions(NamedTuple):
    """What ``image build`` takes.

    ``context`` is a directory, or ``-``: ``stdin`` is a tar, or a lone Dockerfile. ``dockerfile`` is a path, ``-`` for
    ``stdin``, or "" for the context's own. ``outputs`` are ``type=local|tar|oci|docker|image[,dest=..]``; without one
    the image is kept. ``epoch`` is SOURCE_DATE_EPOCH, in seconds. ``workers`` steps run at once (0: one a processor).
    """

    context: str = "."
    dockerfile: str = ""
    tags: Sequence[str] = ()
    build_args: Mapping[str, str] = {}
    target: str = ""
    no_cache: bool = False
    labels: Mapping[str, str] = {}
    platform: str = ""
    network: str = "default"
    outputs: Sequence[str] = ()
    epoch: int | None = None
    stdin: BinaryIO | None = None
    stdout: BinaryIO | None = None
    workers: int = 0
