"""``cais volume cp``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] VOLUME[@SNAPSHOT]:SRC_PATH DEST_PATH|-",
    """Copy files/folders between a volume and the local filesystem, or SRC_PATH|- to VOLUME:DEST_PATH

By the rules of 'cais container cp'; no container is needed.
Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a volume.
Use '-' as the destination to stream a tar archive of a
volume source to stdout.""",
    arguments=(2, 2),
    complete="file",
    flags=(
        Flag("archive", "a", "", "Archive mode (copy all uid/gid information)"),
        Flag("follow-link", "L", "", "Always follow symbol link in SRC_PATH"),
        Flag("quiet", "q", "", "Suppress progress output during copy. It is suppressed if no terminal is attached"),
    ),
    examples=("cais volume cp ./site/. site:/", "cais volume cp data:/dump.sql .", "cais volume cp data:/ - | tar t"),
)


def run(call: Call) -> int:
    from cais.cli.commands.container_cp import copy

    return copy(call, call.engine.volumes.files, "volume")
