"""Settings from outside: flags, then environment, then files, then defaults. A door: only doors read the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

from cais.engine.settings import Settings


def load(environ: Mapping[str, str], *, root: str | None = None) -> Settings:
    """The user's settings. ``root`` is what a flag gave, or None."""
    return Settings(
        root=root or environ.get("CAIS_ROOT") or default_root(environ),
        driver=environ.get("CAIS_DRIVER", ""),
        runtime=environ.get("CAIS_RUNTIME", ""),
    )


def default_root(environ: Mapping[str, str]) -> str:
    """``/var/lib/cais`` for root, else ``$XDG_DATA_HOME/cais``."""
    if os.geteuid() == 0:
        return "/var/lib/cais"
    data = environ.get("XDG_DATA_HOME") or os.path.join(environ.get("HOME") or os.path.expanduser("~"), ".local/share")
    return os.path.join(data, "cais")
