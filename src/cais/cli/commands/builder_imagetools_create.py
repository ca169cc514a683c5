"""``cais builder imagetools create``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] [SOURCE] [SOURCE...]",
    "Create a new image based on source images",
    arguments=(0, None),
    flags=(
        Flag("annotation", "", "stringArray", "Add annotation to the image"),
        Flag("append", "", "", "Append to existing manifest"),
        Flag("dry-run", "", "", "Show final image instead of pushing"),
        Flag("file", "f", "stringArray", "Read source descriptor from file", complete="file"),
        Flag("progress", "", "string",
             'Set type of progress output ("auto", "plain", "tty", "rawjson", "quiet")', "auto",
             complete="auto,plain,tty,rawjson,quiet"),
        Flag("tag", "t", "stringArray", "Set reference for new image"),
    ),
    examples=(
        "cais builder imagetools create -t registry.example.com/app:1 registry.example.com/app:1-amd64 "
        "registry.example.com/app:1-arm64",
        "cais builder imagetools create --append -t registry.example.com/app:1 registry.example.com/app:1-riscv64",
        "cais builder imagetools create --dry-run debian:12",
    ),
)  # fmt: skip

_FILE_LIMIT_BYTES = 1 << 20


def run(call: Call) -> int:
    from cais.cli.others import put
    from cais.cli.progress import display
    from cais.engine.imagetools import CreateOptions

    options = CreateOptions(
        sources=[*map(_read, call["file"]), *call.arguments],
        tags=call["tag"],
        append=call["append"],
        dry_run=call["dry-run"],
        annotations=call["annotation"],
    )
    shown = display(call["progress"])
    try:
        raw = call.engine.imagetools.create(options, shown)
    finally:
        shown.close()
    if options.dry_run:
        put(raw.decode("utf-8", "replace") + "\n")
    return 0


def _read(path: str) -> str:
    from cais.errors import from_os_error

    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_FILE_LIMIT_BYTES)
    except OSError as error:
        raise from_os_error(error, f"open {path}")
