"""``cais image inspect``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import inspect_format, platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    "Display detailed information on one or more images",
    arguments=(1, None),
    complete="image",
    flags=(
        inspect_format(),
        platform(
            "Inspect a specific platform of the multi-platform image.\n"
            "'os[/arch[/variant]]': Explicit platform (eg. linux/amd64)"
        ),
        Flag("remote", "", "", "Inspect images in their registries, without pulling them"),
    ),
    examples=(
        "cais image inspect debian",
        "cais image inspect --remote debian:12",
        "cais image inspect -f '{{.Config.Cmd}}' debian",
    ),
)


def run(call: Call) -> int:
    from cais.cli.documents import inspect

    platform = None
    if call["platform"]:
        from cais.cli.platforms import chosen

        platform = chosen(call["platform"])
    images = call.engine.images
    find = images.remote_inspect if call["remote"] else images.inspect
    return inspect(call.arguments, lambda name: find(name, platform), call["format"])
