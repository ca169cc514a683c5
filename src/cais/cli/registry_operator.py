"""What the commands share by which an operator looks after a registry: its settings, where its packages are there."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.catalog.settings import CatalogSettings
    from cais.cli.call import Call


def settings_of(call: Call) -> CatalogSettings:
    """What ``--config``, ``--root`` and ``--set`` say (``registry_records.settings_flags``); the schema is brought up
    to date. Raises Invalid, Unavailable (also where the packages of the registry are not installed)."""
    import os

    from cais.cli.registry_records import registry_packages

    with registry_packages():
        from cais.catalog.catalog import prepare
        from cais.registry.settings import load, of_catalog

    found = of_catalog(load(os.environ, config=call["config"], flags={"root": call["root"]}, pairs=call["set"]))
    prepare(found)
    return found
