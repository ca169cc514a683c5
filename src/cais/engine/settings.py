"""Settings: all that a user may set, as one value; a door builds it, the engine is handed it."""

from __future__ import annotations

from cais.spec.named import NamedTuple


class Settings(NamedTuple):
    """``root``: the root directory. ``driver``: a storage driver, or "" to probe. ``runtime``: a path, or "".

    The bounds of the build cache are texts ("20GB", "10%", "60d"; "0": none), "" for the default (``build_bound``).
    """

    root: str
    driver: str = ""
    runtime: str = ""
    build_cache_size: str = ""
    build_cache_reserved: str = ""
    build_cache_free: str = ""
    build_cache_age: str = ""
