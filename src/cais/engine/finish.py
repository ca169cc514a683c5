"""``python -m cais.engine.finish ROOT CONTAINER DRIVER RUNTIME``: conmon runs it after a detached container's end."""

from __future__ import annotations

import sys


def main(arguments: list[str]) -> int:
    """0; 1 where something was left for ``system check --repair``."""
    from cais.engine.containers import Containers
    from cais.engine.settings import Settings
    from cais.engine.stores import Stores
    from cais.errors import CaisError

    root, id, driver, runtime = arguments
    stores = Stores(Settings(root, driver, runtime))
    try:
        Containers(stores).finish(id)
    except CaisError:
        return 1
    finally:
        stores.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
