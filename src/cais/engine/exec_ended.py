"""After the end of a detached exec: ``ROOT DRIVER RUNTIME CONTAINER EXEC CODE`` (``ContainerRuns.command``).

The shell that has waited for its end becomes it.
"""

from __future__ import annotations


def main(arguments: list[str]) -> int:
    """Tells the log of events. 0: whoever has started it is not to take this for its failure."""
    from cais.engine.container_runs import ContainerRuns
    from cais.engine.settings import Settings
    from cais.engine.stores import Stores
    from cais.errors import CaisError
    from cais.runtime import exec as processes

    root, driver, runtime, container, id, code = arguments
    stores = Stores(Settings(root, driver, runtime))
    runs = ContainerRuns(stores)
    try:
        runs.happenings.container("exec_die", runs.records.get(container), execID=id, exitCode=code)
    except CaisError:
        pass  # the container was removed with its end
    finally:
        processes.forget(runs.runtime.opened(container), id)
        stores.close()
    return 0
