"""What is kept and said of a build has no secret in it: every file of the root directory is searched for the values."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = str(Path(__file__).parents[2] / "src")
START = (
    f"import sys; sys.path.insert(0, {SOURCES!r}); sys.argv[0] = 'cais'; from cais.cli import main; sys.exit(main())"
)
BUSYBOX = "/bin/busybox"

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(
        not Path(BUSYBOX).exists() or not (shutil.which("crun") or shutil.which("runc")),
        reason="needs busybox-static and an OCI runtime (crun or runc)",
    ),
]


def test_neither_log_nor_record_nor_reason_has_a_secret(tmp_path: Path) -> None:
    context, root = tmp_path / "context", tmp_path / "root"
    context.mkdir()
    (context / "secret").write_text("hunter2-in-a-file")
    shutil.copy(BUSYBOX, context / "busybox")
    dockerfile = (
        "FROM scratch\nCOPY busybox /bin/sh\nARG API_TOKEN\nARG WORD\n"
        "RUN --mount=type=secret,id=one [ -s /run/secrets/one ] && echo said $API_TOKEN > /dev/null\n"
        'RUN --mount=type=secret,id=two,env=TWO [ -n "$TWO" ] && echo $WORD\n'
    )
    (context / "Dockerfile").write_text(dockerfile)
    (context / ".dockerignore").write_text("secret\n")
    said = []

    def cais(*arguments: str, token: str = "hunter2-first") -> str:
        environment = {**os.environ, "CAIS_ROOT": str(root), "TWO": "hunter2-in-a-variable"}
        argv = [sys.executable, "-I", "-c", START, *arguments]
        if arguments[0] == "build":
            argv += ["--secret", f"id=one,src={context}/secret", "--secret", "id=two,env=TWO"]
            argv += [
                "--build-arg",
                f"API_TOKEN={token}",
                "--build-arg",
                "HTTP_PROXY=http://u:hunter2-proxy@127.0.0.1:1",
            ]
            argv += ["--network", "none", str(context)]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
        said.append(done.stdout + done.stderr)
        return done.stdout + done.stderr

    assert "DONE" in cais("build", "--progress=plain", "--explain")
    again = cais("build", "--progress=plain", "--explain", token="hunter2-second")
    assert "the variable API_TOKEN: (hidden) → (hidden)" in again
    cais("build", "--plan", token="hunter2-third")
    cais("build", "--explain=json", "-q", token="hunter2-third")
    cais("build", "--progress=rawjson", "--no-cache")
    record = json.loads(cais("builder", "history", "inspect", "-f", "json"))
    assert record["options"]["secrets"] == ["one", "two"]
    assert record["options"]["build_args"]["API_TOKEN"] == "(hidden)"
    for form in ("html", "json", "dot"):
        assert cais("builder", "graph", "--format", form)
    cais("builder", "history", "inspect")
    cais("builder", "history", "logs")
    assert "hunter2" not in "".join(said)
    # Of build arguments that steps see, the database and the record have the values, as the image's history has.
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            for value in (b"hunter2-in-a-file", b"hunter2-in-a-variable", b"hunter2-proxy"):
                assert value not in data, f"{value!r} is in {path}"
            if path.name == "log":
                assert b"hunter2" not in data
            if path.name == "record.json":
                assert path.stat().st_mode & 0o077 == 0
