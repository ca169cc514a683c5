"""The builds that are kept: finding one, its record, removing it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cais.build.secret_names import looks_secret
from cais.engine.build_log import BuildRow, builds, is_running
from cais.engine.build_record import HIDDEN, read
from cais.engine.build_sources import shown_text
from cais.engine.stores import Stores
from cais.errors import Conflict, Invalid, NotFound
from cais.host.files import remove_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HINT = "cais builder history ls lists the builds."


def find(stores: Stores, build: str = "") -> BuildRow:
    """A kept build by its id, the start of it, or how many before the last (``^1``); "" and ``^0`` are the last.

    Raises NotFound, Invalid (several begin so).
    """
    rows = builds(stores)
    if build.startswith("^"):
        count = build[1:]
        if not (count.isascii() and count.isdigit()):
            raise Invalid(
                f"invalid reference {build!r}: a number follows the ^", hint="^1 is the build before the last."
            )
        if len(count) > 6 or int(count) >= len(rows):
            raise NotFound(f"no build {build!r} is kept: there are {len(rows)}", hint=_HINT)
        return rows[int(count)]
    found = [row for row in rows if row.id.startswith(build)]
    exact = [row for row in found if row.id == build]
    if not found:
        raise NotFound(f"no build {build!r} is kept" if build else "no build is kept", hint=_HINT)
    if build and not exact and len(found) > 1:
        ids = ", ".join(row.id for row in found[:5])
        raise Invalid(f"several builds begin with {build!r}: {ids}", hint="Give more of the id.")
    return (exact or found)[0]


def record(stores: Stores, build: str = "") -> dict[str, Any]:
    """The record of a kept build (``build_record``), the values of variables that are called like secrets hidden, and
    the credentials of URLs.

    Of a build that runs, or was killed, only what its log's row says. Raises what ``find`` does.
    """
    row = find(stores, build)
    found = read(os.path.join(stores.root, "builds", row.id))
    if found is None:
        found = {"id": row.id, "name": row.name, "started": row.started, "finished": row.finished, "steps": []}
    found["status"] = row.status
    for step in found["steps"]:
        run = step.get("run")
        if run:
            run["env"] = {
                name: HIDDEN if looks_secret(name) else shown_text(value) for name, value in run["env"].items()
            }
    return found


def remove(stores: Stores, wanted: Sequence[str] | None) -> list[str]:
    """Forgets builds (None: all that do not run); returns their ids. The cache and the images stay.

    Raises what ``find`` does, Conflict for one that runs; nothing is removed then.
    """
    if wanted is None:
        ids = [row.id for row in builds(stores) if row.status != "running"]
    else:
        rows = [find(stores, build) for build in wanted]
        ids = list(dict.fromkeys(row.id for row in rows))
        for row in rows:
            if row.status == "running" and is_running(stores, row.id):
                raise Conflict(f"the build {row.id} is running", hint="Stop it first.")
    with stores.database.transaction() as change:
        change.execute_many("DELETE FROM builds WHERE id = ?", [(id,) for id in ids])
    for id in ids:
        remove_tree(os.path.join(stores.root, "builds", id))
    return ids
