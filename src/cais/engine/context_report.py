"""What lies in a build's context, what the Dockerfile reads of it, and which rule leaves out the rest.

Nothing is built and no file is opened: directories are listed. Where base images are missing, the Dockerfile is read
without them.
"""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator

from cais.build.checks.report import Checks
from cais.build.context import Context
from cais.build.dockerfile.parser import parse
from cais.build.graph import Copy, LocalSource, Vertex, reachable
from cais.build.ignore import Ignore, Rule
from cais.build.selection import walk
from cais.build.tree import shown
from cais.engine.build_checks import lowering
from cais.engine.build_input import open_input
from cais.engine.build_options import BuildOptions
from cais.engine.stores import Stores
from cais.errors import CaisError, from_os_error
from cais.spec.named import NamedTuple

LARGEST_KEPT = 1000
# Directories that a build hardly ever wants; those that it reads are worth a hint from this part of it on.
_SUSPECTS = frozenset(
    (".git", ".hg", ".svn", "node_modules", ".venv", "venv", "__pycache__", ".mypy_cache", ".pytest_cache", ".tox",
     ".cache", ".idea", ".vscode", ".terraform", "target")
)  # fmt: skip
_WORTH_A_HINT = 0.1
_WORTH_A_HINT_BYTES = 1_000_000


class Amount(NamedTuple):
    """Of whatever is no directory; only regular files have bytes."""

    files: int = 0
    size_bytes: int = 0


class Reader(NamedTuple):
    """One instruction that reads of the context. ``problem`` is why it cannot ("" where it can)."""

    line: int
    text: str
    amount: Amount
    problem: str = ""


class Ignored(NamedTuple):
    """What one rule leaves out: the last one that matched."""

    line: int
    rule: str
    amount: Amount


class File(NamedTuple):
    """``path`` is relative to the context. ``read``: by the Dockerfile."""

    path: str
    size_bytes: int
    read: bool


class ContextReport(NamedTuple):
    """``offered`` is what lies there and no rule leaves out, ``read`` what the Dockerfile's target reads of that.

    ``directories`` are those directly in the context ("" stands for the files that are), by what is offered of each;
    ``largest`` are offered files, the largest first, at most ``LARGEST_KEPT``. ``unused_rules`` match nothing.
    """

    path: str
    ignore_file: str
    offered: Amount
    ignored: Amount
    read: Amount
    readers: tuple[Reader, ...]
    rules: tuple[Ignored, ...]
    unused_rules: tuple[Ignored, ...]
    directories: tuple[tuple[str, Amount], ...]
    largest: tuple[File, ...]
    hints: tuple[str, ...]


class _Found:
    """What the walk has counted so far."""

    def __init__(self) -> None:
        self.files = self.size_bytes = 0
        self.rules: dict[int, list[int]] = {}
        self.directories: dict[str, list[int]] = {}
        self.largest: list[tuple[int, str]] = []

    def offer(self, path: str, size: int) -> None:
        self.files += 1
        self.size_bytes += size
        top, slash, _ = path.partition("/")
        counted = self.directories.setdefault(top if slash else "", [0, 0])
        counted[0] += 1
        counted[1] += size
        if len(self.largest) < LARGEST_KEPT:
            heapq.heappush(self.largest, (size, path))
        elif size > self.largest[0][0]:
            heapq.heapreplace(self.largest, (size, path))

    def ignore(self, rule: int, size: int) -> None:
        counted = self.rules.setdefault(rule, [0, 0])
        counted[0] += 1
        counted[1] += size


def report(stores: Stores, options: BuildOptions) -> ContextReport:
    """Raises what opening the context, or reading the Dockerfile, raises."""
    with open_input(stores, options, "") as given:
        context = given.contexts.own
        found = _Found()
        try:
            _walk(context, found)
        except OSError as error:
            raise from_os_error(error, f"read the context {shown(context.path)}")
        readers, read = _readers(stores, options, given.source, context)
    rules = context.ignore.rules if context.ignore is not None else ()
    used = [
        Ignored(rule.line, rule.text, Amount(*found.rules[rule.line])) for rule in rules if rule.line in found.rules
    ]
    # One that takes back in leaves nothing out, and is used all the same.
    unused = [
        Ignored(rule.line, rule.text, Amount()) for rule in rules if rule.line not in found.rules and not rule.again
    ]
    directories = sorted(found.directories.items(), key=lambda item: (-item[1][1], item[0]))
    made = ContextReport(
        context.path,
        context.ignore_file,
        Amount(found.files, found.size_bytes),
        Amount(sum(item[0] for item in found.rules.values()), sum(item[1] for item in found.rules.values())),
        Amount(len(read), sum(read.values())),
        tuple(readers),
        tuple(used),
        tuple(unused),
        tuple((name, Amount(*amount)) for name, amount in directories),
        tuple(File(path, size, path in read) for size, path in sorted(found.largest, key=_largest_first)),
        (),
    )
    return made._replace(hints=tuple(_hints(made, read)))


def _largest_first(item: tuple[int, str]) -> tuple[int, str]:
    return -item[0], item[1]


def _walk(context: Context, found: _Found) -> None:
    """Everything below the context, ignored or not; links are not followed."""
    ignore: Ignore | None = context.ignore
    pending: list[tuple[str, Rule | None]] = [("", None)]
    while pending:
        # ``whole``: the rule that leaves all of the directory out, so that nothing in it has to be asked about.
        directory, whole = pending.pop()
        prefix = f"{directory}/" if directory else ""
        try:
            entries = os.scandir(os.path.join(context.path, directory))
        except OSError:
            if directory:
                continue  # its owner's; a COPY of it will say so
            raise
        with entries:
            for entry in entries:
                path = prefix + entry.name
                rule = whole
                if whole is None and ignore is not None and ignore.ignores(path):
                    rule = ignore.rule(path)
                if entry.is_dir(follow_symlinks=False):
                    open = rule is None or (whole is None and ignore is not None and ignore.may_include_below(path))
                    pending.append((path, None if open else rule))
                    continue
                status = entry.stat(follow_symlinks=False)
                size = status.st_size if stat.S_ISREG(status.st_mode) else 0
                if rule is None:
                    found.offer(path, size)
                else:
                    found.ignore(rule.line, size)


def _readers(
    stores: Stores, options: BuildOptions, source: bytes, context: Context
) -> tuple[list[Reader], dict[str, int]]:
    """The instructions that read of the context, and the files, with their sizes, that they read together."""
    dockerfile = parse(source)
    checks = Checks.of(dockerfile, options.build_args)
    target = lowering(stores, options, dockerfile, checks).lower({}, every_stage=False).vertex
    readers: list[Reader] = []
    read: dict[str, int] = {}
    for vertex in reachable(target):
        files: dict[str, int] = {}
        problem = ""
        used = False
        for op in _own(vertex):
            used = True
            try:
                files.update(_files(context, op))
            except CaisError as error:
                problem = error.message
        if used:
            origin = vertex.origin
            text = origin.text if origin.step else f"{origin.text} (a mount)"
            readers.append(Reader(origin.first_line, text, Amount(len(files), sum(files.values())), problem))
            read.update(files)
    return sorted(readers), read


def _own(vertex: Vertex) -> Iterator[Copy]:
    """The copies of ``vertex`` whose source is the build's own context."""
    op = vertex.op
    if not isinstance(op, Copy) or not op.from_context:
        return
    for part, source in zip((op, *op.more), vertex.inputs[1:], strict=False):
        if source is not None and source.op == LocalSource("") and part.sources:
            yield part


def _files(context: Context, op: Copy) -> Iterator[tuple[str, int]]:
    selection = context.select(op)
    for path, entry in walk(selection):
        if not stat.S_ISDIR(entry.mode):
            yield path, entry.size if stat.S_ISREG(entry.mode) else 0
    for source in selection.sources:
        if not source.is_directory:
            yield source.path, source.entry.size if stat.S_ISREG(source.entry.mode) else 0


def _hints(made: ContextReport, read: dict[str, int]) -> Iterator[str]:
    total = made.read.size_bytes
    suspects: dict[str, int] = {}
    for path, size in read.items():
        for depth, name in enumerate(path.split("/")[:-1]):
            if name in _SUSPECTS:
                place = "/".join(path.split("/")[: depth + 1])
                suspects[place] = suspects.get(place, 0) + size
                break
    for place, size in sorted(suspects.items(), key=lambda item: -item[1])[:5]:
        if size >= total * _WORTH_A_HINT and size > 0:
            part = f"{100 * size // total} % of what is read" if total else "read"
            yield f"{shown(place)} is {part}: the line {place} in .dockerignore leaves it out"
    if made.largest and made.largest[0].read and made.largest[0].size_bytes > max(total / 2, _WORTH_A_HINT_BYTES):
        yield f"more than half of what is read is one file: {shown(made.largest[0].path)}"
    if not made.readers:
        yield "the Dockerfile reads nothing of the context"
    for rule in made.unused_rules:
        yield f"line {rule.line} of {made.ignore_file} ({shown(rule.rule)}) leaves out nothing"
