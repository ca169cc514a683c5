"""BuildOptions: what ``image build`` is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.spec.named import NamedTuple
from cais.spec.platform import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from cais.spec.descriptor import Descriptor


class Limits(NamedTuple):
    """What each RUN gets, as ``container run`` does; 0 and "": no limit. ``ulimits`` are ``name=soft[:hard]``.

    They are no part of a step's cache key.
    """

    memory_bytes: int = 0
    memory_swap_bytes: int = 0
    cpu_shares: int = 0
    cpu_period_microseconds: int = 0
    cpu_quota_microseconds: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    shm_bytes: int = 0
    ulimits: Sequence[str] = ()
    cgroup_parent: str = ""


class BuildOptions(NamedTuple):
    """What ``image build`` takes; texts are as on the command line (``docs/reference/commands.md``).

    ``context`` is a directory, a URL, or ``-``: ``stdin`` is a tar, or a lone Dockerfile. ``dockerfile`` is a path,
    ``-`` for ``stdin``, or "" for the context's own; ``dockerfile_entry`` is the entry of a tar on ``stdin`` that is
    the Dockerfile and no file of the context, as another Cais sends it. ``platform`` is one, or several with commas
    between.
    ``outputs`` are ``type=local|tar|oci|docker|image[,dest=..]``; without one the image is kept. ``contexts`` are
    the named ones; the value of one may be a key of ``linked``: what another build has made. ``environment`` is
    where secrets and agents that say no source are looked up. ``epoch`` is SOURCE_DATE_EPOCH, in seconds.
    ``result_provenance`` (min, max, "" for none) asks for one in the result, beside the attestations of
    ``attest``. At most ``workers`` steps run at once (0: as many as there are, up to 64).
    """

    context: str = "."
    dockerfile: str = ""
    dockerfile_entry: str = ""
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
    contexts: Mapping[str, str] = {}
    linked: Mapping[str, Descriptor] = {}
    secrets: Sequence[str] = ()
    ssh: Sequence[str] = ()
    allow: Sequence[str] = ()
    add_hosts: Sequence[str] = ()
    limits: Limits = Limits()
    no_cache_filter: Sequence[str] = ()
    pull: bool = False
    annotations: Sequence[str] = ()
    cache_from: Sequence[str] = ()
    cache_to: Sequence[str] = ()
    attest: Sequence[str] = ()
    result_provenance: str = ""
    environment: Mapping[str, str] = {}


def platforms(text: str, host: Platform) -> list[Platform]:
    """Those of ``--platform``, each once; "" is the host's, and so is ``local``. Raises Invalid."""
    found = [
        host if name in ("", "local") else Platform.parse(name, host)
        for name in (part.strip() for part in text.split(","))
    ]
    return list(dict.fromkeys(found))
