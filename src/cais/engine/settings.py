"""Settings: all that a user may set, as one value; a door builds it, the engine is handed it."""

from __future__ import annotations

from cais.spec.named import NamedTuple


class Settings(NamedTuple):
    """``root``: the root directory. ``driver``: a storage driver, or "" to probe. ``runtime``: a path, or ""."""

    root: str
    driver: str = ""
    runtime: str = ""
