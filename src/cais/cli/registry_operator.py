"""What the commands share by which an operator looks after a registry: its settings, where its packages are there."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.catalog.settings import CatalogSettings
    from cais.cli.call import Call


def settings_of(call: Call, *, new: bool = False) -> CatalogSettings:
    """What ``--config``, ``--root`` and ``--set`` say (``registry_records.settings_flags``); the schema is brought up
    to date, or made where ``new`` says that there need be no registry.

    Raises Invalid, NotFound, Unavailable (also where the packages of the registry are not installed).
    """
    import os

    from cais.cli.registry_records import registry_packages

    with registry_packages():
        from cais.catalog.catalog import make, require_made
        from cais.registry.settings import load, of_catalog

    found = of_catalog(load(os.environ, config=call["config"], flags={"root": call["root"]}, pairs=call["set"]))
    if not new:
        require_made(found)
    make(found)
    return found
