"""Everything that removes something, again and again, while builds with mounts, links and sources run."""

from __future__ import annotations

import subprocess

import pytest
from cais_process import nothing_left
from test_credentials_nowhere import Server

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM base AS one
ADD http://user:word@127.0.0.1:{port}/file /file
RUN --mount=type=cache,target=/c,id=c,sharing={sharing} --mount=type=bind,target=/context \\
    echo x >> /c/list && cat /context/own > /one
FROM base
COPY --link --from=one /one /linked
COPY --link own /own
RUN --mount=type=cache,target=/d,id=d{number} cat /own /linked > /both && echo x > /d/x
"""


def test_builds_survive_all_prunes(cais_with_base):
    cais = cais_with_base
    cais("create", "--name", "keeper", "base", "true")
    running: list[tuple[str, subprocess.Popen[bytes]]] = []

    def start(*words: str) -> None:
        running.append((" ".join(words), cais.start(*words, stderr=subprocess.PIPE)))

    with Server() as server:
        for number in range(6):
            # The last two are one build, twice.
            name = min(number, 4)
            sharing = ("shared", "private", "locked")[name % 3]
            text = DOCKERFILE.format(port=server.server_address[1], sharing=sharing, number=name)
            own = cais.context(f"own{name}", text, [("own", b"%d\n" % name)])
            start("build", "-q", "-t", f"own:{number}", *(["--no-cache"] if number % 2 else []), str(own))
        while any(process.poll() is None for name, process in running if name.startswith("build")):
            removals = [
                cais.start(*words, stderr=subprocess.PIPE)
                for words in (
                    ("builder", "prune", "-af"), ("volume", "prune", "-af"), ("system", "check", "--repair"),
                    ("builder", "du"), ("image", "prune", "-f"), ("container", "ls"),
                )
            ]  # fmt: skip
            for process in removals:
                error = process.communicate(timeout=60)[1].decode()
                assert process.returncode == 0 and "Traceback" not in error, f"{process.args}: {error}"
        for name, process in running:
            error = process.communicate(timeout=120)[1].decode()
            assert process.returncode == 0, f"{name}: {error}"
        server.shutdown()
    for number in range(6):
        name = min(number, 4)
        done = cais("run", "--rm", "--network", "none", f"own:{number}", "cat", "/both", "/linked", "/own")
        assert done.stdout == f"{name}\n" * 4
    cais("builder", "prune", "-af")
    cais("volume", "prune", "-af")
    cais.assert_sound()
    assert nothing_left(cais)
