"""``cais container cp``, ``cais cp``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cais.cli.call import Call
    from cais.engine.container_files import ContainerFiles
    from cais.engine.volume_files import VolumeFiles

COMMAND = Command(
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tcais cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    """Copy files/folders between a container and the local filesystem

Use '-' as the source to read a tar archive from stdin
and extract it to a directory destination in a container.
Use '-' as the destination to stream a tar archive of a
container source to stdout.""",
    aliases=("container cp", "cp"),
    arguments=(2, 2),
    complete="file",
    flags=(
        Flag("archive", "a", "", "Archive mode (copy all uid/gid information)"),
        Flag("follow-link", "L", "", "Always follow symbol link in SRC_PATH"),
        Flag(
            "quiet",
            "q",
            "",
            "Suppress progress output during copy. Progress output is automatically suppressed if no terminal is "
            "attached",
        ),
    ),
    examples=("cais cp web:/var/log/nginx ./logs", "cais cp site/. web:/srv/site", "cais cp web:/etc - | tar t"),
)


def run(call: Call) -> int:
    return copy(call, call.engine.containers.files, "container")


def copy(call: Call, files: ContainerFiles | VolumeFiles, what: str) -> int:
    """The command for ``what`` (container or volume) and its files."""
    import sys

    from cais.errors import Invalid

    source, target = call.arguments
    for side, text in (("source", source), ("destination", target)):
        if not text:
            raise Invalid(f"{side} can not be empty")
    here, there = split(source), split(target)
    if here[0] and there[0]:
        raise Invalid(f"copying between {what}s is not supported")
    if not here[0] and not there[0]:
        raise Invalid(f"must specify at least one {what} source")
    follow, archive = call["follow-link"], call["archive"]
    if here[0] and target == "-":
        files.archive(*here, sys.stdout.buffer, follow=follow)
        return 0
    if there[0] and source == "-":
        files.extract(there[0], sys.stdin.buffer, there[1], archive=archive)
        return 0
    quiet = call["quiet"] if "quiet" in call.said else not sys.stdout.isatty()
    progress = None if quiet else Progress("from" if here[0] else "to", what)
    counted = None if progress is None else progress.add
    try:
        if here[0]:
            place = files.copy_out(*here, target, follow=follow, archive=archive, counted=counted)
        else:
            path = files.copy_in(there[0], source, there[1], follow=follow, archive=archive, counted=counted)
            place = f"{there[0]}:{path}"
    finally:
        if progress is not None:
            progress.close()
    if progress is not None:
        sys.stderr.write(f"Successfully copied {progress.size} to {place}\n")
    return 0


def split(text: str) -> tuple[str, str]:
    """(container or volume, path); the first is "" for a path of this host, which begins with "/" or "."."""
    container, colon, path = text.partition(":")
    if text.startswith("/") or not colon or container.startswith("."):
        return "", text
    return container, path


class Progress:
    """How much was copied, on the terminal of standard error while it goes on."""

    def __init__(self, direction: str, what: str) -> None:
        import sys
        import time

        self._title = f"Copying {direction} {what}"
        self._terminal = sys.stderr.isatty()
        self._bytes = 0
        self._clock: Callable[[], float] = time.monotonic
        self._next = self._clock() + 0.2  # what is done at once needs no line

    def add(self, size: int) -> None:
        self._bytes += size
        if self._terminal and self._clock() >= self._next:
            import sys

            self._next = self._clock() + 0.1
            sys.stderr.write(f"\r\x1b[K{self._title} - {self.size}")
            sys.stderr.flush()

    def close(self) -> None:
        """Takes the line away."""
        import sys

        if self._terminal:
            sys.stderr.write("\r\x1b[K")

    @property
    def size(self) -> str:
        from cais.cli.units import human_size

        return human_size(self._bytes)
