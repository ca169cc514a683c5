"""Graphs of several platforms become one."""

from __future__ import annotations

from cais.build.dockerfile.parser import parse
from cais.build.graph import Exec, reachable
from cais.build.lower import lower
from cais.build.sharing import shared
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform

AMD64, ARM64 = Platform(), Platform("linux", "arm64")


def base(reference, platform):
    return ImageConfig({**platform.to_json(), "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]}})


def lowered(text):
    file = parse(text.encode())
    return [
        lower(file, base=base, platform=platform, build_platform=AMD64, several=True) for platform in (AMD64, ARM64)
    ]


def titles(targets):
    return [vertex.origin.title for vertex in reachable(*(target.vertex for target in targets)) if vertex.origin.step]


CROSS = """FROM --platform=$BUILDPLATFORM tools AS build
RUN fetch
ARG TARGETARCH
RUN make $TARGETARCH
FROM app
COPY --from=build /out /
"""


def test_what_does_not_ask_for_its_target_is_one():
    targets = shared(lowered(CROSS))
    assert titles(targets) == [
        "[linux/amd64 stage-1 1/2] FROM docker.io/library/app:latest",
        "[linux/amd64 build 1/3] FROM docker.io/library/tools:latest",
        "[linux/amd64 build 2/3] RUN fetch",
        "[linux/amd64 build 3/3] RUN make amd64",
        "[linux/amd64 stage-1 2/2] COPY --from=build /out /",
        "[linux/arm64 stage-1 1/2] FROM docker.io/library/app:latest",
        "[linux/amd64->arm64 build 3/3] RUN make arm64",
        "[linux/arm64 stage-1 2/2] COPY --from=build /out /",
    ]


def test_the_history_speaks_of_the_shared_vertices():
    targets = shared(lowered("FROM --platform=$BUILDPLATFORM tools\nRUN fetch\n"))
    assert targets[0].vertex is targets[1].vertex
    assert all(target.layers == (target.vertex,) for target in targets)


def test_the_same_step_for_another_platform_is_another():
    first, second = shared(lowered("FROM app\nRUN make\n"))
    assert first.vertex is not second.vertex
    assert isinstance(second.vertex.op, Exec) and (first.vertex.op.platform, second.vertex.op.platform) == (
        "", "linux/arm64",
    )  # fmt: skip


def test_two_stages_that_say_the_same_are_one():
    text = "FROM app AS a\nRUN make\nFROM app AS b\nRUN make\nFROM scratch\nCOPY --from=a /x /a\nCOPY --from=b /x /b\n"
    made = [v for v in reachable(*(t.vertex for t in shared(lowered(text)))) if v.origin.text == "RUN make"]
    assert [vertex.op.platform for vertex in made] == ["", "linux/arm64"]


def test_nothing_to_share():
    targets = lowered("FROM scratch\nLABEL a=b\n")
    assert shared(targets) == targets
