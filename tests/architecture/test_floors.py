"""The table of the house: which room may import which. Walks the sources; nothing is imported."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "cais"

WORDS = frozenset({"spec", "ports", "errors"})
GROUND = WORDS | {"host"}

# Each room, its floor, and the rooms it may import (besides itself).
ROOMS: dict[str, tuple[int, frozenset[str]]] = {
    "errors": (0, frozenset()),
    "spec": (0, frozenset({"errors"})),
    "ports": (0, frozenset({"spec", "errors"})),
    "host": (1, WORDS),
    "content": (2, GROUND),
    "snapshot": (2, GROUND),
    "volume": (2, GROUND),
    "network": (2, GROUND),
    "runtime": (2, GROUND),
    "sources": (2, GROUND),
    "events": (2, GROUND),
    "remote": (2, GROUND),
    "blobs": (2, GROUND),
    "records": (2, GROUND),
    "image": (3, GROUND | {"content", "snapshot"}),
    "build": (3, GROUND | {"image", "content", "snapshot", "volume", "runtime", "sources"}),
    "container": (3, GROUND | {"snapshot", "volume", "network", "runtime", "events"}),
    "catalog": (3, GROUND | {"blobs", "records"}),
    "engine": (
        4,
        GROUND
        | {"content", "snapshot", "volume", "network", "runtime", "sources", "events", "remote"}
        | {"image", "build", "container"},
    ),
    "registry": (5, frozenset({"catalog", "host", "spec", "errors", "ports"})),
    "settings": (5, frozenset({"engine", "errors", "spec"})),
    "cli": (5, frozenset({"engine", "catalog", "registry", "settings", "errors", "spec", "ports"})),
    "cais": (5, frozenset({"engine", "settings", "errors", "spec"})),  # the package itself: the library's door
    "__main__": (5, frozenset({"cli"})),
}
# Rooms on one floor that may import one another, with the reason.
SIDEWAYS = {
    ("spec", "errors"): "values say what is wrong with a text",
    ("ports", "spec"): "protocols speak of values",
    ("ports", "errors"): "protocols say what they raise",
    ("build", "image"): "a build starts from an image and ends in one",
    ("cli", "settings"): "the settings are read in the door",
    ("cais", "settings"): "the settings are read in the door",
    ("__main__", "cli"): "python -m cais",
    ("cli", "registry"): "`cais registry serve` opens the other door",
}
READS_ENVIRONMENT = {"cli", "settings", "cais", "registry"}
LONGEST_MODULE_LINES = 450


class Arrow(NamedTuple):
    """One import: who, from where in the source, of what."""

    source: str
    target: str
    where: str
    lazy: bool  # inside a function, or only for the type checker


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of Cais by its dotted name."""
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ["cais", *path.relative_to(SOURCE).with_suffix("").parts]
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "cais"


def _imports(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[str, int, bool]]:
    """Dotted names that a module imports from Cais, with their line, and whether only later or for types."""

    def walk(node: ast.AST, lazy: bool) -> Iterator[tuple[str, int, bool]]:
        for child in ast.iter_child_nodes(node):
            inner = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                inner = True
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield alias.name, child.lineno, inner
            elif isinstance(child, ast.ImportFrom):
                package = module.split(".") if is_package else module.split(".")[:-1]
                base = ".".join(package[: len(package) - child.level + 1]) if child.level else ""
                name = ".".join(filter(None, (base, child.module)))
                for alias in child.names:
                    yield f"{name}.{alias.name}", child.lineno, inner
            yield from walk(child, inner)

    yield from walk(tree, False)


@cache  # not when the tests are collected: each process of them would read all sources then
def arrows() -> list[Arrow]:
    """Every import between modules of Cais."""
    known = dict(modules())
    found = []
    for module, path in known.items():
        tree = ast.parse(path.read_bytes(), str(path))
        for name, line, lazy in _imports(tree, module, path.name == "__init__.py"):
            if name.split(".")[0] != "cais" or name == "cais.__version__":
                continue
            target = name
            while target not in known:  # a name inside a module
                target = target.rpartition(".")[0]
            found.append(Arrow(module, target, f"{path.relative_to(SOURCE.parent)}:{line}", lazy))
    return found


def test_the_table_itself_has_no_arrow_up() -> None:
    for room, (floor, allowed) in ROOMS.items():
        for target in allowed:
            assert ROOMS[target][0] < floor or (room, target) in SIDEWAYS, f"{room} -> {target}"


def test_every_room_stands_in_the_table() -> None:
    assert {room_of(module) for module, _ in modules()} <= set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_down(room: str) -> None:
    allowed = ROOMS[room][1] | {room}
    wrong = [
        f"{arrow.where}: {arrow.source} -> {arrow.target}"
        for arrow in arrows()
        if room_of(arrow.source) == room and room_of(arrow.target) not in allowed
    ]
    assert not wrong, "\n".join(wrong)


def test_no_cycle_of_modules() -> None:
    """No module needs itself to be imported; what a function imports when it is called cannot do harm."""
    graph: dict[str, set[str]] = {module: set() for module, _ in modules()}
    for arrow in arrows():
        if not arrow.lazy and arrow.source != arrow.target and not arrow.source.startswith(arrow.target + "."):
            graph[arrow.source].add(arrow.target)
    state: dict[str, int] = {}

    def visit(module: str, path: list[str]) -> None:
        state[module] = 1
        for target in sorted(graph[module]):
            assert state.get(target) != 1, "cycle: " + " -> ".join([*path, module, target])
            if target not in state:
                visit(target, [*path, module])
        state[module] = 2

    for module in graph:
        if module not in state:
            visit(module, [])


def _reads_environment(tree: ast.AST) -> Iterator[int]:
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Attribute)
            and node.attr in ("environ", "environb", "getenv", "getenvb")
            and isinstance(node.value, ast.Name)
            and node.value.id == "os"
        ):
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (node.lineno for alias in node.names if alias.name in ("environ", "getenv", "environb"))


def test_only_doors_read_the_environment() -> None:
    wrong = [
        f"{path.relative_to(SOURCE.parent)}:{line}"
        for module, path in modules()
        if room_of(module) not in READS_ENVIRONMENT
        for line in _reads_environment(ast.parse(path.read_bytes()))
    ]
    assert not wrong, "reads the environment outside a door: " + ", ".join(wrong)


def test_the_walk_sees_what_it_must() -> None:
    """The checks above would pass over an empty list; this one would not."""
    code = (
        "import os\nfrom cais.engine import x\ndef f():\n  from .store import y\n  return os.environ, os.getenv('B')\n"
    )
    tree = ast.parse(code)
    assert ("cais.engine.x", 2, False) in list(_imports(tree, "cais.content.tags", False))
    assert ("cais.content.store.y", 4, True) in list(_imports(tree, "cais.content.tags", False))
    assert list(_reads_environment(tree)) == [5, 5]
    assert len(arrows()) > 50, f"few imports were found in {SOURCE}"
    assert any(arrow.source.startswith("cais.engine") and arrow.target.startswith("cais.content") for arrow in arrows())


def test_modules_stay_readable() -> None:
    """One subject each, read in one sitting."""
    long = []
    for module, path in modules():
        with open(path, encoding="utf-8") as file:
            lines = sum(1 for _ in file)
        if lines > LONGEST_MODULE_LINES:
            long.append(f"{module}: {lines} lines")
    assert not long, ", ".join(long)


def test_every_package_has_its_page() -> None:
    for module, path in modules():
        tree = ast.parse(path.read_bytes())
        if tree.body:
            assert ast.get_docstring(tree), f"{module} has no docstring"
        if path.name == "__init__.py":
            assert ast.get_docstring(tree), f"the package {module} has no docstring"


# Packages whose modules are known by their names alone: the library's door, a module a command, steps of a schema.
NAMED_ALIKE = {"cais", "cais.cli.commands", "cais.records.migrations", "cais.records.migrations.versions"}


def test_every_module_stands_on_its_rooms_page() -> None:
    """By its name in the docstring of its package, or by the beginning of it (``build_*``)."""
    pages = {}
    for module, path in modules():
        if path.name == "__init__.py" and module not in NAMED_ALIKE:
            page = ast.get_docstring(ast.parse(path.read_bytes())) or ""
            pages[module] = set(re.findall(r"\w+\*?", page))
    missing = []
    for module, _ in modules():
        room, _, name = module.rpartition(".")
        words = pages.get(room, {name})
        if name not in words and not any(word.endswith("*") and name.startswith(word[:-1]) for word in words):
            missing.append(f"{module} in src/{room.replace('.', '/')}/__init__.py")
    assert len(pages) > 20, f"few packages were found in {SOURCE}"
    assert not missing, "say in a line of its room's page what it is for: " + ", ".join(missing)


def test_no_rooms_for_odds_and_ends() -> None:
    for module, _ in modules():
        assert not set(module.split(".")) & {"utils", "util", "helpers", "manager", "base", "misc", "common"}, module
