"""The command line beside the real Docker client: the same words, messages and exit codes. No daemon is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCES = str(Path(__file__).parents[2] / "src")
START = (
    f"import sys; sys.path.insert(0, {SOURCES!r}); sys.argv[0] = 'cais'; from cais.cli import main; sys.exit(main())"
)
# What an installed client without its plugins says before `build`.
LEGACY = re.compile(r"DEPRECATED: The legacy builder .*?\n\n", re.DOTALL)


def docker_version() -> int:
    if not shutil.which("docker"):
        return 0
    said = subprocess.run(["docker", "--version"], capture_output=True, text=True).stdout
    found = re.search(r"version (\d+)", said)
    return int(found[1]) if found else 0


pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(docker_version() < 27, reason="needs the docker client 27 or newer (its messages changed)"),
]


def both(arguments: list[str], tmp_path: Path) -> tuple[Any, Any]:
    environment = {**os.environ, "DOCKER_HOST": "unix:///nowhere.sock", "CAIS_ROOT": str(tmp_path / "root")}
    options: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 60, "stdin": subprocess.DEVNULL}
    docker = subprocess.run(["docker", *arguments], env=environment, **options)
    cais = subprocess.run([sys.executable, "-I", "-c", START, *arguments], env=environment, **options)
    return docker, cais


def as_cais(text: str) -> str:
    """What the docker client says, with the other name, and without the slips of single versions."""
    text = LEGACY.sub("", text).replace("docker", "cais").replace("Docker ", "Cais ")
    text = re.sub(r"(?m)^(SRun|See) '", "Run '", text)
    return text.replace("file|URL|-", "file|-")


@pytest.mark.parametrize(
    "line",
    [
        "nope", "image nope", "--nope", "-x", "image --nope",
        "image tag", "image tag a", "tag a b c", "images a b", "ps x", "rmi", "image rm", "save", "history",
        "history a b", "volume create a b", "volume rm", "volume inspect", "run", "create", "start", "rm", "logs",
        "logs a b", "commit", "inspect", "image inspect", "wait", "stop", "kill", "image import", "run -m 1bb b",
        "load x", "build", "build a b", "version x", "info x", "rename a", "container prune x", "run --",
        "image ls --nope", "images -x", "images -aqx", "images -axq", "images --format", "images --filter",
        "images -f x", "ps -n x", "ps --=x", "ps ---", "run --name", "run -e", "run -x", "run -itx",
        "run --memory xx b", "run -m 1kk b", "run --tty=foo b", "run --cpus x b", "run --pids-limit x b",
        "run --pids-limit 99999999999999999999 b", "run -e =x b", "run -l =x b", "run --label= b", "run --shm-size x b",
        "run --ulimit x b", "run --add-host x b", "create --nope", "stop -t x y", "save --nam x",
        "volume create --label= v", "build --nope .", "build -t", "version --nope", "help nope",
    ],
)  # fmt: skip
def test_same_words_and_code(line: str, tmp_path: Path) -> None:
    docker, cais = both(line.split(), tmp_path)
    assert cais.stderr == as_cais(docker.stderr)
    assert cais.stdout == as_cais(docker.stdout)
    assert cais.returncode == docker.returncode


@pytest.mark.parametrize(
    "line",
    ["image ls", "images", "ps", "container ls", "image rm", "rmi", "save", "volume ls", "volume rm", "commit",
     "stop", "rename", "tag", "volume prune", "container prune", "image prune", "container inspect", "kill", "wait"],
)  # fmt: skip
def test_help_has_the_form_of_dockers(line: str, tmp_path: Path) -> None:
    """The usage line, the text, the aliases are the same; each flag that both have is described in the same words."""
    docker, cais = both([*line.split(), "--help"], tmp_path)
    assert cais.returncode == docker.returncode == 0
    theirs, ours = (text.partition("Options:\n") for text in (as_cais(docker.stdout), cais.stdout))
    assert ours[0].partition("Examples:")[0].strip() == theirs[0].strip()
    known = flags(theirs[2])
    for head, text in flags(ours[2].partition("\nExamples:")[0]).items():
        if head in known:
            assert known[head].startswith(text)


def flags(table: str) -> dict[str, str]:
    """The lines of an options table: the flag with its kind, and what is said about it in one line."""
    found: dict[str, list[str]] = {}
    head = ""
    for line in table.splitlines():
        if re.match(r"\s+(-\w, )?--", line):
            head, _, text = line.strip().partition("   ")
            found[head] = [text.strip()]
        elif line.strip():
            found[head].append(line.strip())
    return {head: re.sub(r"\s+", " ", " ".join(parts)).strip() for head, parts in found.items()}


@pytest.mark.parametrize("line", ["nope --help", "image --help", "image nope --help", "help image tag"])
def test_help_comes_out_the_same_way(line: str, tmp_path: Path) -> None:
    docker, cais = both(line.split(), tmp_path)
    assert cais.returncode == docker.returncode
    assert bool(cais.stderr) == bool(docker.stderr)
    assert bool(cais.stdout) == bool(docker.stdout)


@pytest.mark.parametrize("template", ["{{.Foo", "{{foo}}", "{{end}}", "{{if}}", "{{$x}}", "{{"])
def test_templates_fail_the_same_way(template: str, tmp_path: Path) -> None:
    docker, cais = both(["version", "--format", template], tmp_path)
    assert cais.returncode == docker.returncode
    assert cais.stderr == docker.stderr


@pytest.mark.parametrize(
    "template",
    ["{{printf \"%s|%5d|%-5s|%q|%x\" \"a\" 7 \"b\" \"c\" \"d\"}}", "{{print 1 2 \"a\" \"b\" 3}}", "{{len \"héé\"}}",
     "{{range $i, $e := split \"a,b\" \",\"}}{{$i}}{{$e}}{{end}}", "{{slice \"abcdef\" 1 3}}", "{{eq 1 2 1}}",
     "{{upper \"a\"}}{{title \"ab cd\"}}{{pad \"x\" 1 2}}|{{truncate \"abc\" 2}}", "{{json \"<&>\"}}", "{{1e3}}{{0xf}}",
     "a {{- \" b \" -}} c", "{{/* x */}}y", "{{$x := 1}}{{with 5}}{{$x}}{{.}}{{end}}", "{{and 1 0}}{{or 0 2}}{{not 0}}",
     "{{index (split \"a,b\" \",\") 1}}", "{{join (split \"a,b\" \",\") \"-\"}}", "{{html \"<a>\"}}{{urlquery \" \"}}",
     "{{printf \"%d\"}}{{printf \"%d\" \"x\"}}{{printf \"x\" 1}}", "{{println \"a\" 1}}", "{{true}}{{lt 1.5 2.5}}",
     "{{range $i := split \"\" \",\"}}x{{else}}y{{end}}", "{{if eq \"a\" \"a\"}}1{{else if true}}2{{else}}3{{end}}"],
)  # fmt: skip
def test_templates_give_the_same_text(template: str, tmp_path: Path) -> None:
    docker, cais = both(["version", "--format", template], tmp_path)
    assert cais.stdout == docker.stdout
