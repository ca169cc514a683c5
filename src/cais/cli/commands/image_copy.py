"""``cais image copy``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] SOURCE DESTINATION",
    "Copy an image between registries, layouts, archives and this host\n\n"
    "A place is one of\n"
    "  docker://NAME[:TAG|@DIGEST]   in a registry\n"
    "  oci:DIRECTORY[:NAME]          in an OCI image layout\n"
    "  oci-archive:FILE[:NAME]       in an archive of a layout\n"
    "  docker-archive:FILE[:NAME]    in an archive that docker load takes\n"
    "  [cais:]NAME[:TAG]             here",
    arguments=(2, 2),
    flags=(
        Flag("all", "a", "", "Copy the images of all platforms (default, where the digest is to stay the same)"),
        Flag(
            "format",
            "f",
            "string",
            'Media types of the copy: "oci" or "docker" (default "oci" for layouts, else what it has)',
            complete="oci,docker",
        ),
        platform("Copy the image of one platform only\n'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"),
        Flag("preserve-digests", "", "", "Keep all bytes, also where a layout would get OCI's media types"),
        Flag("quiet", "q", "", "Suppress verbose output"),
        Flag("referrers", "", "", "Copy signatures, attestations and whatever else refers to the image, too"),
    ),
    examples=(
        "cais image copy docker://debian:12 docker://registry.example.com/mirror/debian:12",
        "cais image copy --platform linux/arm64 docker://debian:12 oci-archive:debian.tar",
        "cais image copy app:1.0 oci:layout:1.0",
    ),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.declare import UsageError
    from cais.cli.platforms import chosen
    from cais.cli.progress_transfer import COPY, Transfer

    if call["all"] and call["platform"]:
        raise UsageError("conflicting options: --all and --platform", 1, usage=False)
    if call["format"] not in ("", "oci", "docker", "v2s2"):
        raise UsageError(f'unknown format "{call["format"]}": it is "oci" or "docker"', 1, usage=False)
    source, target = call.arguments
    display = Transfer(COPY, quiet=call["quiet"])
    try:
        copied = call.engine.images.copy(
            source,
            target,
            platform=chosen(call["platform"]),
            all_platforms=call["all"],
            format={"v2s2": "docker"}.get(call["format"], call["format"]),
            preserve_digests=call["preserve-digests"],
            referrers=call["referrers"],
            progress=display,
        )
    finally:
        display.close()
    say(copied.digest)
    return 0
