"""Start-up is a feature: what each command loads is counted, and what is expensive is not loaded at all.

Each command runs on a real root directory in an interpreter without ``site``, as the launcher starts it, and prints its
``sys.modules`` at the end. What the processes that a command starts load is not counted.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

SOURCES = str(Path(__file__).parents[2] / "src")
# The dependencies with C code, which `build` may need; not a place where `site` would look.
PACKAGES = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
PROGRAM = f"""
import sys
sys.path[:0] = {[SOURCES, *PACKAGES]!r}
report = sys.argv.pop(1)
from cais.cli import main
code = main()
sys.stdout.flush()
modules = sorted(sys.modules)
import json
with open(report, "w") as file:
    json.dump([code, modules], file)
"""

NEVER = frozenset((
    "argparse", "asyncio", "logging", "dataclasses", "rich", "subprocess", "concurrent", "urllib", "http", "tarfile",
    "email", "multiprocessing", "tempfile", "shutil", "pathlib", "inspect", "socket", "ssl", "importlib.metadata",
    "pydoc", "difflib", "textwrap", "configparser", "tomllib", "xml", "urllib3", "cais.remote",
))  # fmt: skip
BUILDER = ("cais.build", "cais.engine.build")
PROGRESS = ("cais.cli.progress", "cais.cli.progress_plain")
# Standard modules whose C parts are enough: together they are a fifth of what a short command costs.
HEAVY = (
    "re", "enum", "json", "signal", "sqlite3", "datetime", "threading", "collections", "functools", "ctypes",
)  # fmt: skip
TEMPLATES = ("cais.cli.template", "cais.cli.template_run", "cais.cli.template_functions")

# (arguments, how many modules at most, what it must not load beside NEVER)
BUDGETS = {
    "version": (["version"], 45, (*BUILDER, *TEMPLATES, "typing", "sqlite3", "re", "json", "cais.engine")),
    "help": (["image", "--help"], 45, (*BUILDER, "typing", "re", "cais.engine", "cais.cli.commands")),
    "image ls": (["images"], 80, (*BUILDER, *PROGRESS, *TEMPLATES, "cais.container", "cais.runtime", "cais.snapshot")),
    "image inspect": (["image", "inspect", "app"], 120, (*BUILDER, *PROGRESS, "cais.container", "cais.runtime")),
    "image history": (["history", "app"], 115, (*BUILDER, *PROGRESS, *TEMPLATES, "cais.container", "cais.runtime")),
    "ps": (
        ["ps", "-a"],
        74,
        (*BUILDER, *PROGRESS, *TEMPLATES, *HEAVY, "cais.runtime.runner", "cais.snapshot", "cais.image"),
    ),
    "run": (["run", "--rm", "--network", "none", "app", "/nothing"], 181, (*BUILDER, *PROGRESS, *TEMPLATES)),
    "builder du": (
        ["builder", "du"],
        110,
        ("cais.build", "cais.engine.build_run", *PROGRESS, *TEMPLATES, "cais.runtime"),
    ),
    "history ls": (
        ["builder", "history", "ls"],
        100,
        ("cais.build", "cais.engine.build_run", *PROGRESS, "cais.snapshot"),
    ),
    "build": (["build", "--progress=plain", "-f", "-", "."], 213, (*TEMPLATES, "cais.container", "rich")),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("budget")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        entry = tarfile.TarInfo("file")
        entry.size = 5
        archive.addfile(entry, io.BytesIO(b"hello"))
    loaded(directory, ["import", "-", "app"], buffer.getvalue())
    return directory


def loaded(root: Path, arguments: list[str], data: bytes = b"", program: str = PROGRAM) -> tuple[int, Any]:
    """The exit code of a command, and the modules that it had loaded at its end."""
    report = root / "report"
    report.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(report), *arguments],
        input=data, capture_output=True, cwd=root, timeout=60, env={**os.environ, "CAIS_ROOT": str(root / "root")},
    )  # fmt: skip
    assert report.exists(), done.stderr.decode()
    code, modules = json.loads(report.read_text())
    return code, modules


def is_of(module: str, packages: frozenset[str] | tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


@pytest.mark.root
@pytest.mark.parametrize("name", BUDGETS)
def test_modules(name: str, root: Path) -> None:
    arguments, most, unwanted = BUDGETS[name]
    data = b"FROM scratch\nCOPY file /\n" if name == "build" else b""
    if name == "build":
        (root / "file").write_text("hello")
    code, modules = loaded(root, arguments, data)
    assert code == (127 if name == "run" else 0)
    # What this test itself brings, and what the interpreter has before it does anything.
    assert [module for module in modules if is_of(module, NEVER)] == []
    assert [module for module in modules if is_of(module, unwanted)] == []
    print(f"{name}: {len(modules)} modules")
    assert len(modules) <= most


def test_a_template_loads_only_templates(root: Path) -> None:
    _, modules = loaded(root, ["images", "--format", "{{.ID}}"])
    assert not [module for module in modules if is_of(module, NEVER)]
    assert "cais.cli.template_run" in modules


def test_the_live_view_alone_loads_rich(root: Path) -> None:
    (root / "file").write_text("hello")
    _, modules = loaded(root, ["build", "--progress=tty", "-f", "-", "."], b"FROM scratch\nCOPY file /\n")
    assert "rich.live" in modules


@pytest.mark.root
def test_a_run_loads_nothing_heavy(tmp_path: Path) -> None:
    """Of an image that has run before."""
    if not Path("/bin/busybox").exists():
        pytest.skip("needs busybox-static")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add("/bin/busybox", "bin/true")
    loaded(tmp_path, ["import", "-", "app"], buffer.getvalue())
    arguments = ["run", "--rm", "--network", "none", "app", "true"]
    assert loaded(tmp_path, arguments)[0] == 0
    code, modules = loaded(tmp_path, arguments)
    assert code == 0
    assert [module for module in modules if is_of(module, (*NEVER, *BUILDER, *HEAVY))] == []
    print(f"run: {len(modules)} modules")
    assert len(modules) <= 134
    assert asks_ahead(tmp_path, arguments) == CAN_ASK


@pytest.mark.root
def test_what_runs_costs_other_commands_little(tmp_path: Path) -> None:
    """A list loads nothing that starts containers; a new container takes one look at each of those that run."""
    if not Path("/bin/busybox").exists() or shutil.which("conmon") is None:
        pytest.skip("needs busybox-static and conmon")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.add("/bin/busybox", "bin/sleep")
    loaded(tmp_path, ["import", "-", "app"], buffer.getvalue())
    create = ["create", "--network", "none", "app", "sleep", "1"]
    names = [f"c{number}" for number in range(5)]

    def begin(name: str) -> None:
        assert loaded(tmp_path, ["run", "-d", "--name", name, "--network", "none", "app", "sleep", "1000"])[0] == 0

    try:
        begin(names[0])
        beside_one = counted("open", tmp_path, create)
        for name in names[1:]:
            begin(name)
        beside_five = counted("open", tmp_path, create)
        code, modules = loaded(tmp_path, ["ps"])
        in_one = loaded(tmp_path, ["exec", names[0], "sleep", "0"])
        asked = asks_ahead(tmp_path, ["exec", names[0], "sleep", "0"])
    finally:
        loaded(tmp_path, ["rm", "-f", *names])
    assert code == 0
    assert [module for module in modules if is_of(module, ("cais.container.prepare", "cais.snapshot"))] == []
    assert in_one[0] == 0
    stores = ("cais.image", "cais.content", "cais.snapshot", "cais.volume", "cais.network")
    assert [module for module in in_one[1] if is_of(module, (*NEVER, *HEAVY, *stores, "cais.container.store"))] == []
    print(f"exec: {len(in_one[1])} modules")
    assert len(in_one[1]) <= 89
    assert asked == CAN_ASK
    # Its bundle's owner, the boot, the owner's process.
    assert beside_five - beside_one <= 4 * 3


@pytest.mark.root
def test_no_code_is_made_from_text(root: Path) -> None:
    """But for one named tuple, which functools makes for itself when the report is written."""
    for arguments in (["images"], ["ps", "-a"], ["create", "app", "/nothing"]):
        assert counted("compile", root, arguments, of="<string>") <= 1


def counted(event: str, root: Path, arguments: list[str], of: str = "") -> int:
    """How many audit events of a kind, with ``of`` among their arguments, a command has: ``open`` for each file."""
    wanted = f"name == {event!r} and (not {of!r} or {of!r} in given)"
    counting = f"import sys; seen = []; sys.addaudithook(lambda name, given: {wanted} and seen.append(name))\n"
    program = counting + PROGRAM.replace("[code, modules]", "[code, len(seen)]")
    code, count = loaded(root, arguments, program=program)
    assert code == 0
    return int(count)


CAN_ASK = any(os.access(f"/sys/fs/cgroup/{name}cgroup.procs", os.W_OK) for name in ("", "systemd/", "pids/"))


def asks_ahead(root: Path, arguments: list[str]) -> bool:
    """Whether a command asks the kernel, beside its own work, for what that takes its time (runtime.cgroup_moves)."""
    counting = "import _thread; seen = []; start = _thread.start_new_thread\n"
    counting += "_thread.start_new_thread = lambda *given: (seen.append(given[0].__qualname__), start(*given))[1]\n"
    code, seen = loaded(root, arguments, program=counting + PROGRAM.replace("[code, modules]", "[code, seen]"))
    assert code == 0
    return "Foresight._keep_asking" in seen


@pytest.mark.root
def test_a_cached_build_loads_nothing_that_carries_out(root: Path) -> None:
    (root / "file").write_text("hello")
    text = b'FROM app\nENV A=1\nWORKDIR /x\nCOPY file .\nLABEL x=y\nCMD ["true"]\n'
    arguments = ["build", "--progress=plain", "-t", "cached", "-f", "-", "."]
    assert loaded(root, arguments, text)[0] == 0
    code, modules = loaded(root, arguments, text)
    assert code == 0
    unwanted = (
        *TEMPLATES, "cais.runtime", "cais.sources", "cais.container", "cais.volume", "cais.build.ops",
        "cais.build.sbom", "cais.build.execute", "cais.build.provenance", "cais.build.reasons",
        "cais.build.outline", "cais.build.credentials", "cais.build.checks.rules", "cais.engine.build_attest",
        "cais.engine.build_bound", "cais.engine.cache_export", "cais.engine.cache_import",
        "cais.engine.output_files", "cais.cli.container_flags",
    )  # fmt: skip
    assert [module for module in modules if is_of(module, (*NEVER, *unwanted))] == []
    print(f"cached build: {len(modules)} modules")
    assert len(modules) <= 174
