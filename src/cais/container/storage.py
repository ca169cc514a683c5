"""``--storage-opt size=``: how much a container may write into its own layer."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from cais.container.options import parse_bytes
from cais.errors import Denied, Invalid, Unsupported, from_os_error


def check(options: Sequence[str]) -> tuple[str, ...]:
    """Raises Invalid with Docker's words."""
    for item in options:
        key, equals, value = item.partition("=")
        if not equals:
            raise Invalid("invalid storage option", exit_code=125)
        if key.lower() != "size":
            raise Invalid(f"Unknown option {key}", exit_code=125)
        parse_bytes(value, "storage-opt")
    return tuple(options)


def bound(directory: str, options: Sequence[str]) -> None:
    """Bounds a new layer's ``directory``. Raises Unsupported with Docker's words, Denied."""
    from cais.host import quota

    size_bytes = parse_bytes(options[-1].partition("=")[2], "storage-opt")
    # Files move from one to the other, which they may in one project alone.
    paths = [os.path.join(directory, name) for name in ("fs", "work")]
    try:
        quota.set_limit([path for path in paths if os.path.isdir(path)], size_bytes)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise Denied("--storage-opt: only root may bound the size of a container", exit_code=125)
        if quota.is_missing(error):
            raise Unsupported(
                "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
                hint="Or over ext4 with project quotas (tune2fs -O project,quota; mount -o prjquota).",
                exit_code=125,
            )
        raise from_os_error(error, "bound the size of a container")
