"""``cais image ls``, ``cais images``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.list_flags import filter_flag, list_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [REPOSITORY[:TAG]]",
    "List images",
    aliases=("image ls", "image list", "images"),
    arguments=(0, 1),
    complete="image",
    flags=(
        Flag("all", "a", "", "Show all images (default hides intermediate images)"),
        Flag("digests", "", "", "Show digests"),
        filter_flag(),
        list_format(),
        Flag("no-trunc", "", "", "Don't truncate output"),
        Flag("quiet", "q", "", "Only show image IDs"),
        Flag("remote", "", "", "Show the tags of a repository in its registry (with --quiet only them)"),
    ),
    examples=(
        "cais images",
        "cais images debian",
        "cais images --remote localhost:5000/app",
        "cais images --filter dangling=true -q",
        "cais images --format 'table {{.Repository}}:{{.Tag}}\\t{{.Size}}'",
    ),
)


def run(call: Call) -> int:
    import time

    from cais.cli.table import show
    from cais.cli.units import age, human_size, local_time
    from cais.cli.values import filters

    if call["remote"]:
        return _remote(call)
    now = time.time()
    long = call["no-trunc"]
    rows = call.engine.images.list(
        all=call["all"], filters=filters(call["filter"]), reference=call.arguments[0] if call.arguments else ""
    )
    fields = {
        "Containers": lambda image: "N/A",
        "CreatedAt": lambda image: local_time(image.created_unix),
        "CreatedSince": lambda image: age(image.created_unix, now),
        "Digest": lambda image: image.digest or "<none>",
        "ID": lambda image: image.id if long else image.id[7:19],
        "Repository": lambda image: image.repository,
        "SharedSize": lambda image: "N/A",
        "Size": lambda image: human_size(image.size_bytes),
        "Tag": lambda image: image.tag,
        "UniqueSize": lambda image: "N/A",
        "VirtualSize": lambda image: human_size(image.size_bytes),
    }
    headers = {
        "Containers": "CONTAINERS", "CreatedAt": "CREATED AT", "CreatedSince": "CREATED", "Digest": "DIGEST",
        "ID": "IMAGE ID", "Repository": "REPOSITORY", "SharedSize": "SHARED SIZE", "Size": "SIZE", "Tag": "TAG",
        "UniqueSize": "UNIQUE SIZE", "VirtualSize": "SIZE",
    }  # fmt: skip
    columns = ["Repository", "Tag", "Digest", "ID", "CreatedSince", "Size"]
    if not call["digests"]:
        columns.remove("Digest")
    show(rows, fields, headers, columns, kind="image", format=call["format"], quiet="ID" if call["quiet"] else "")
    return 0


def _remote(call: Call) -> int:
    """The tags of one repository; a digest is asked for only where it is shown."""
    from cais.cli.declare import UsageError
    from cais.cli.table import show

    for flag in ("all", "filter", "no-trunc"):
        if flag in call.said:
            raise UsageError(f"conflicting options: --remote and --{flag}", 1, usage=False)
    if not call.arguments:
        raise UsageError("--remote needs the name of a repository", 1, usage=False)
    images, repository = call.engine.images, call.arguments[0]
    fields = {
        "Digest": lambda tag: images.remote_digest(f"{repository}:{tag}"),
        "Repository": lambda tag: repository,
        "Tag": lambda tag: tag,
    }
    headers = {"Digest": "DIGEST", "Repository": "REPOSITORY", "Tag": "TAG"}
    columns = ["Repository", "Tag", "Digest"] if call["digests"] else ["Repository", "Tag"]
    rows = images.remote_tags(repository)
    show(rows, fields, headers, columns, kind="image", format=call["format"], quiet="Tag" if call["quiet"] else "")
    return 0
