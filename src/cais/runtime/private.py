"""What a run has in memory alone: secrets, sockets, and where need be what the runtime is told of it."""

from __future__ import annotations

import os

from cais.errors import from_os_error
from cais.host.mounts import mount_memory
from cais.runtime.guardian import PRIVATE, PRIVATE_STATE
from cais.runtime.runner import Bundle


def private_directory(bundle: Bundle) -> str:
    """Makes the directory of ``bundle`` that is in memory, and goes with it. Raises Denied, Failed."""
    path = os.path.join(bundle.directory, PRIVATE)
    try:
        os.mkdir(path, 0o700)
        mount_memory(path)
    except OSError as error:
        raise from_os_error(error, "make the private directory of a bundle")
    return path


def with_private_configuration(bundle: Bundle) -> Bundle:
    """``bundle``, that has a private directory, with the runtime's configuration and notes in it.

    The environment stands in both: it may have secrets. Raises Failed.
    """
    state = os.path.join(bundle.directory, PRIVATE, PRIVATE_STATE)
    try:
        os.mkdir(state, 0o700)
        os.symlink(os.path.join(PRIVATE, "config.json"), os.path.join(bundle.directory, "config.json"))
    except OSError as error:
        raise from_os_error(error, "make the private directory of a bundle")
    return bundle._replace(state_directory=state)
