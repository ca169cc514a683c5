"""``cais image pull``, ``cais pull``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    "Download an image from a registry",
    aliases=("image pull", "pull"),
    arguments=(1, 1),
    complete="image",
    flags=(
        Flag("all-platforms", "", "", "Download the images of all platforms, not only of this one"),
        Flag("all-tags", "a", "", "Download all tagged images in the repository"),
        Flag("disable-content-trust", "", "", "Skip image verification (there is none: no effect)", True),
        platform("Set platform if server is multi-platform capable"),
        Flag(
            "policy",
            "",
            "string",
            'When to ask the registry ("always", "missing", "newer": if it can be reached, "never")',
            "always",
            complete="always,missing,newer,never",
        ),
        Flag("quiet", "q", "", "Suppress verbose output"),
        Flag("referrers", "", "", "Download signatures, attestations and whatever else refers to the image, too"),
    ),
    examples=("cais pull debian:12", "cais pull --platform linux/arm64 debian", "cais pull -a localhost:5000/app"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.platforms import chosen
    from cais.cli.progress_transfer import PULL, Transfer, named

    name = named(call)
    display = Transfer(PULL, quiet=call["quiet"])
    try:
        call.engine.images.pull(
            call.arguments[0],
            all_tags=call["all-tags"],
            platform=chosen(call["platform"]),
            all_platforms=call["all-platforms"],
            policy=call["policy"],
            referrers=call["referrers"],
            progress=display,
        )
    finally:
        display.close()
    say(str(name))
    return 0
