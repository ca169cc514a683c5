"""``cais registry import``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] DIRECTORY",
    "Take over what a docker-registry has stored\n\nDIRECTORY is its root directory (/var/lib/registry in its image). "
    "Every byte is verified. It can be repeated, and then takes over what is new: once while the old registry serves, "
    "and once more when it is stopped.",
    arguments=(1, 1),
    flags=(
        Flag("link", "", "", "Link files instead of copying them, where both are on one file system"),
        *settings_flags(),
    ),
    examples=("cais registry import --root /srv/registry /var/lib/registry",),
    complete="directory",
)


def run(call: Call) -> int:
    from cais.cli.call import say, warn
    from cais.cli.registry_operator import settings_of
    from cais.cli.units import human_size

    settings = settings_of(call, new=True)
    from cais.catalog.catalog import stores
    from cais.catalog.docker_import import DockerImport
    from cais.catalog.docker_storage import DockerStorage

    (directory,) = call.arguments
    source = DockerStorage(directory)
    with stores(settings) as (database, blobs):
        done = DockerImport(settings, database, blobs, source, link=call["link"]).run(say)
    for left_out in done.left_out:
        warn(f"Left out: {left_out}")
    say(
        f"{done.repositories} repositories, {done.manifests} manifests, {done.tags} tags; "
        f"{done.blobs} new blobs ({human_size(done.blob_bytes, 4)})"
    )
    return 1 if done.left_out else 0
