"""Owners: giving files away, and why that fails for a user who has few ids."""

from __future__ import annotations

import errno
import os

from cais.errors import Denied


def give(where: int | str | bytes, user_id: int, group_id: int, *, directory: int | None = None) -> None:
    """chown(2) of a descriptor, or of a name that is not followed. Raises Denied where this user lacks the ids."""
    try:
        if isinstance(where, int):
            os.fchown(where, user_id, group_id)
        else:
            os.chown(where, user_id, group_id, dir_fd=directory, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EPERM):
            raise
        raise no_such_ids("a file", user_id, group_id)


def no_such_ids(what: str, user_id: int, group_id: int) -> Denied:
    """``what`` cannot be given to these ids: an error that says what would help."""
    from cais.host.namespaces import entered, in_user_namespace

    state = entered()
    if state is not None and state.warning:
        hint = state.warning
    elif in_user_namespace():
        hint = "Add more subordinate ids to /etc/subuid and /etc/subgid (usermod --add-subuids, --add-subgids)."
    else:
        hint = "This process has not the right to give files away (CAP_CHOWN)."
    return Denied(
        f"cannot give {what} to the user {user_id} and group {group_id}: this user has no such ids", hint=hint
    )
