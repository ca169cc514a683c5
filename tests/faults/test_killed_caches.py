"""Builds with mounts, links, sources and caches killed at random moments, with prunes between them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from cais_process import nothing_left
from test_credentials_nowhere import Server

pytestmark = pytest.mark.root

KILLS = int(os.environ.get("CAIS_KILLS", "20"))
CHECK_EVERY = 10
SECRET = "Tr0ub4dor-and-4"
PROXY = "http://me:hunter2-of-a-proxy@127.0.0.1:1"

DOCKERFILE = """\
FROM --platform=$BUILDPLATFORM base AS one
ADD http://user:word@127.0.0.1:{port}/file{number} /file
RUN --mount=type=cache,target=/shared,sharing=shared --mount=type=cache,target=/private,sharing=private \\
    --mount=type=cache,target=/locked,sharing=locked --mount=type=secret,id=s,env=S --mount=type=secret,id=s \\
    n=$(cat /locked/n || echo 0) && echo $((n+1)) > /locked/new && mv /locked/new /locked/n \\
    && echo {number} >> /shared/list && echo {number} > /private/{number} && echo {number} > /one
FROM base AS two
COPY --link --from=one /one /linked
COPY --link many /many/
RUN --mount=type=bind,from=one,source=/,target=/from,rw --mount=type=tmpfs,target=/t \\
    touch /from/x && echo {number} > /two
FROM base
COPY --link --from=two /two /linked /files/
"""


def test_random_kills_leave_a_sound_store(cais_with_base):
    cais = cais_with_base
    chance = random.Random(int(os.environ.get("CAIS_SEED", "20261123")))
    context = cais.context("context", "", [(f"many/{n}", b"x" * n) for n in range(40)])
    secret, exported = cais.directory / "secret", cais.directory / "exported"
    secret.write_text(SECRET)
    with Server() as server:
        build = (
            "build", "-q", "--secret", f"id=s,src={secret}", "--build-arg", f"HTTP_PROXY={PROXY}",
            "--build-arg", "NO_PROXY=*",
        )  # fmt: skip

        def commands(number: int) -> list[tuple[str, ...]]:
            cache = f"type=local,{{}}={exported}"
            return [
                (*build, "-t", f"app:{number % 3}", str(context)),
                (*build, "--no-cache", str(context)),
                (*build, "--cache-to", cache.format("dest"), str(context)),
                (*build, "--cache-from", cache.format("src"), "-t", "imported", str(context)),
                (*build, "--provenance=mode=max", "--sbom=true", "-t", "attested", str(context)),
                (*build, "-o", f"type=oci,dest={cais.directory}/out.tar,compression=zstd", str(context)),
                (*build, "-o", f"type=local,dest={cais.directory}/out", str(context)),
                ("builder", "prune", "-af"),
                ("builder", "prune", "-f", "--max-used-space", "1"),
                ("volume", "prune", "-af"),
                ("image", "prune", "-af", "--filter", "label!=kept"),
                ("system", "check", "--repair"),
            ]

        killed, number = 0, 0
        end = time.monotonic() + 400
        while killed < KILLS and time.monotonic() < end:
            number += 1
            (context / "Dockerfile").write_text(
                DOCKERFILE.format(number=chance.randrange(20), port=server.server_address[1])
            )
            words = chance.choice(commands(number))
            if words[:2] == ("image", "prune"):
                continue  # the base must stay
            process = cais.start(*words)
            try:
                process.wait(timeout=chance.choice((0.1, 0.3, 0.6, 1.2)) * chance.random() * 2)
            except subprocess.TimeoutExpired:
                process.send_signal(chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT)))
                process.wait()
                killed += 1
                if killed % CHECK_EVERY == 0:
                    cais.assert_sound()
        assert killed == KILLS
        cais.assert_sound()
        # Every lock is free, and everything works.
        cais(*build, "--no-cache", "--cache-to", f"type=local,dest={exported}", "-t", "final", str(context))
        cais("image", "rm", "final")
        cais("builder", "prune", "-af")
        done = cais(
            "build", "--progress=plain", "--secret", f"id=s,src={secret}", "--cache-from",
            f"type=local,src={exported}", "-t", "final", str(context),
        )  # fmt: skip
        assert done.stderr.count("CACHED") >= 4, done.stderr
        server.shutdown()
    cais("builder", "prune", "-af")
    cais("volume", "prune", "-af")
    cais.assert_sound()
    cais("system", "check", "--repair", check=False)  # the directory of a volume whose removal was killed
    assert nothing_left(cais)
    assert os.listdir(cais.root / "volumes") == []
    assert not (exported / "ingest").exists()
    left = os.listdir(cais.root / "sources" / "ingest")
    assert left == []
    for parent, _, names in os.walk(cais.root):
        for name in names:
            data = Path(parent, name).read_bytes() if os.path.isfile(os.path.join(parent, name)) else b""
            assert SECRET.encode() not in data and b"hunter2" not in data, f"{parent}/{name}"
