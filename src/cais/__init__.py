"""Cais: container images and containers, as a library.

    import cais

    with cais.open() as engine:                       # the user's root directory, or cais.open("/some/where")
        engine.builder.build(cais.BuildOptions("path/to/context", tags=["app"]))
        result = engine.containers.run(cais.RunOptions("app", ["true"], networks=["none"], remove=True))
        print(engine.images.get("app").id, result.exit_code)

Errors are those of ``cais.errors``.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.engine import Engine, Settings
    from cais.engine.build_options import BuildOptions
    from cais.engine.containers import AttachOptions, ExecOptions, RunOptions
    from cais.engine.networks import NetworkOptions

__all__ = [
    "AttachOptions", "BuildOptions", "Engine", "ExecOptions", "NetworkOptions", "RunOptions", "Settings",
    "__version__", "open",
]  # fmt: skip

# Loaded when they are first asked for: a command pays for what it uses only.
_ROOMS = {
    "AttachOptions": "cais.engine.containers",
    "BuildOptions": "cais.engine.build_options",
    "Engine": "cais.engine",
    "ExecOptions": "cais.engine.containers",
    "NetworkOptions": "cais.engine.networks",
    "RunOptions": "cais.engine.containers",
    "Settings": "cais.engine",
}


def open(root: str | None = None) -> Engine:
    """The engine on ``root`` (default: ``CAIS_ROOT``, else the user's root directory)."""
    import os

    from cais.engine import Engine
    from cais.settings import load

    return Engine(load(os.environ, root=root), os.environ)


def __getattr__(name: str) -> object:
    if name in _ROOMS:
        import importlib

        return getattr(importlib.import_module(_ROOMS[name]), name)
    raise AttributeError(f"module 'cais' has no attribute {name!r}")
