"""Cais: container images and containers, as a library.

import cais

engine = cais.open()                  # the user's root directory, or cais.open("/some/where")
image = engine.images.build("path/to/context", tags=["app"])
print(image.id, engine.containers.run(image, ["true"]).exit_code)
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine import Engine

__all__ = ["Engine", "__version__", "open"]


def open(root: str | None = None) -> Engine:
    """The engine on ``root`` (default: ``CAIS_ROOT``, else the user's root directory)."""
    import os

    from cais.engine import Engine
    from cais.settings import load

    return Engine(load(os.environ, root=root))


def __getattr__(name: str) -> object:
    if name == "Engine":
        from cais.engine import Engine

        return Engine
    raise AttributeError(f"module 'cais' has no attribute {name!r}")
