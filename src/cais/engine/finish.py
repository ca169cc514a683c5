"""After the end of a detached container: ``ROOT DRIVER RUNTIME [--restart] CONTAINER`` (``ContainerRuns.command``).

conmon becomes it. Where the container's policy wants it to be started again, this process becomes a shell that sleeps,
and then this command again, with ``--restart``.
"""

from __future__ import annotations

import os


def main(arguments: list[str]) -> int:
    """0; 1 where something was left for ``system check --repair``."""
    from cais.engine.container_runs import ENVIRONMENT
    from cais.engine.containers import Containers
    from cais.engine.settings import Settings
    from cais.engine.stores import Stores
    from cais.errors import CaisError

    # conmon kept the container's published ports from other programs.
    os.closerange(3, 1 << 16)
    root, driver, runtime, *flags, id = arguments
    stores = Stores(Settings(root, driver, runtime))
    after: list[str] = []
    try:
        if flags:
            Containers(stores).restart_waited(id)
        else:
            after = list(Containers(stores).finish(id))
    except CaisError:
        return 1
    finally:
        stores.close()
    if after:
        os.execve(after[0], after, ENVIRONMENT)
    return 0
