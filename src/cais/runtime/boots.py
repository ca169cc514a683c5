"""The run directory belongs to one boot of the host: what an earlier one left in it runs no more, whatever it says.

A pid and a start time name a process within one boot only. The file ``.boot`` says which one wrote the rest.
"""

from __future__ import annotations

import os

from cais.host.processes import boot_id

_FILE = ".boot"


def is_current(directory: str) -> bool:
    """Whether the run directory ``directory`` was written in this boot."""
    try:
        with open(os.path.join(directory, _FILE), encoding="utf-8") as file:
            return file.read() == boot_id()
    except (OSError, ValueError):
        return False


def claim(directory: str, state_directory: str) -> None:
    """From now on it is this boot's: everything of an earlier one goes. Raises OSError."""
    from cais.host.files import remove_tree
    from cais.host.locks import FileLock
    from cais.runtime.guardian import remove_bundle

    path = os.path.join(directory, _FILE)
    with FileLock(f"{path}.lock"):
        if is_current(directory):
            return
        for name in os.listdir(directory):
            if not name.startswith("."):
                remove_bundle(os.path.join(directory, name))
        for name in os.listdir(state_directory):
            remove_tree(os.path.join(state_directory, name))
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(boot_id())
        os.replace(f"{path}.new", path)
