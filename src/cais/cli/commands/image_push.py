"""``cais image push``, ``cais push``."""

from __future__ import annotations

from cais.cli.declare import BadValue, Command, Flag
from cais.cli.list_flags import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call


def compression(text: str) -> None:
    from cais.engine.push import parse_compression
    from cais.errors import Invalid

    try:
        parse_compression(text)
    except Invalid as error:
        raise BadValue(error.message)


COMMAND = Command(
    "[OPTIONS] NAME[:TAG]",
    "Upload an image to a registry",
    aliases=("image push", "push"),
    arguments=(1, 1),
    complete="image",
    flags=(
        Flag("all-tags", "a", "", "Push all tags of an image to the repository"),
        Flag(
            "compression",
            "",
            "string",
            "How layers that were built here are compressed: gzip[:LEVEL], zstd[:LEVEL] or none (default gzip)",
            check=compression,
            complete="gzip,zstd,none",
        ),
        Flag("disable-content-trust", "", "", "Skip image signing (there is none: no effect)", True),
        platform(
            "Push a platform-specific manifest as a single-platform image to the registry.\n"
            "Image index won't be pushed, meaning that other manifests, including attestations won't be preserved.\n"
            "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"
        ),
        Flag("quiet", "q", "", "Suppress verbose output"),
        Flag("referrers", "", "", "Upload signatures, attestations and whatever else refers to the image, too"),
    ),
    examples=("cais push localhost:5000/app:1.0", "cais push -a --compression zstd:6 registry.example.com/team/app"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.platforms import chosen
    from cais.cli.progress_transfer import PUSH, Transfer, named

    name = named(call)
    display = Transfer(PUSH, quiet=call["quiet"])
    try:
        call.engine.images.push(
            call.arguments[0],
            all_tags=call["all-tags"],
            platform=chosen(call["platform"]),
            compression=call["compression"],
            referrers=call["referrers"],
            progress=display,
        )
    finally:
        display.close()
    if call["quiet"]:
        say(str(name))
    return 0
