"""What the options of RUN --mount mean in the graph."""

from __future__ import annotations

import pytest

from cais.build.dockerfile.errors import DockerfileError
from cais.build.dockerfile.parser import parse
from cais.build.graph import Copy, Exec, ExecMount, LocalSource, SourceImage, reachable
from cais.build.lower import lower
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform

HERE = Platform("linux", "amd64")


def build(text: str):
    def base(reference: str, platform: Platform) -> ImageConfig:
        return ImageConfig({**platform.to_json(), "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "a" * 64]}})

    return lower(parse(text), base=base, platform=HERE, build_platform=HERE)


def run(text: str):
    vertex = build(text).vertex
    assert vertex is not None and isinstance(vertex.op, Exec)
    return vertex


def mounts(flags: str, before: str = "") -> tuple[ExecMount, ...]:
    return run(f"FROM a\n{before}RUN {flags} x\n").op.mounts


def error(text: str) -> str:
    with pytest.raises(DockerfileError) as caught:
        build(text)
    assert caught.value.span is not None
    return caught.value.message


def test_a_bind_of_the_context_is_a_copy_of_what_it_shows():
    vertex = run("FROM a\nRUN --mount=source=di[r,target=/m --mount=target=/all x\n")
    all_, m = vertex.op.mounts
    assert (m.kind, m.target, m.source, m.readonly) == ("bind", "/m", "/source", True)
    shown = vertex.inputs[m.input]
    assert shown.op == Copy(("di\\[r",), "/source") and shown.inputs[0] is None
    assert shown.inputs[1].op == LocalSource("")
    assert vertex.inputs[all_.input].op.sources == (".",)


def test_the_same_files_are_one_vertex():
    last = run("FROM a\nRUN --mount=source=d,target=/m x\nRUN --mount=source=./d/,target=/n y\n")
    assert last.inputs[1] is last.inputs[0].inputs[1]


def test_a_bind_of_a_stage_and_of_an_image():
    vertex = run(
        "FROM a AS one\nRUN w\nFROM a\nRUN --mount=from=ONE,source=o/../p,target=/m --mount=from=b,target=/n x\n"
    )
    m, n = vertex.op.mounts
    assert vertex.inputs[m.input].origin.text == "RUN w" and m.source == "/p"
    assert isinstance(vertex.inputs[n.input].op, SourceImage)
    assert "RUN w" in [item.origin.text for item in reachable(vertex)]


def test_defaults():
    tmpfs, cache, secret, ssh = mounts(
        "--mount=type=cache,target=c/../d --mount=type=tmpfs,target=/t --mount=type=secret,id=x/y --mount=type=ssh",
        "WORKDIR /w\n",
    )
    assert cache == ExecMount("cache", "/w/d", -1, "/", False, "d", "shared")
    assert tmpfs == ExecMount("tmpfs", "/t", readonly=False)
    assert secret == ExecMount("secret", "/run/secrets/y", id="x/y", mode=0o400)
    assert ssh == ExecMount("ssh", "/run/buildkit/ssh_agent.0", id="default", mode=0o600)


def test_a_secret_as_a_variable_has_a_target_only_where_it_is_asked_for():
    one, two = mounts("--mount=type=secret,id=x,env=X --mount=type=secret,id=x,env=Y,target=/y")
    assert (one.target, one.environment) == ("", "X") and (two.target, two.environment) == ("/y", "Y")


def test_the_agents_variable_is_the_first_ones_unless_there_is_one():
    flags = "--mount=type=ssh,target=/s --mount=type=ssh"
    vertex = run(f"FROM a\nRUN {flags} x\n")
    assert dict(vertex.op.env)["SSH_AUTH_SOCK"] == "/s"
    assert [mount.target for mount in vertex.op.mounts] == ["/s", "/run/buildkit/ssh_agent.1"]
    assert dict(run(f"FROM a\nENV SSH_AUTH_SOCK=/o\nRUN {flags} x\n").op.env)["SSH_AUTH_SOCK"] == "/o"


def test_variables_stand_everywhere_but_in_from():
    (mount,) = mounts(
        "--mount=type=$K,id=$I,target=$T/x,mode=$M,uid=${U:-7},sharing=$S",
        "ARG K=cache I=i T=/t M=0700 S=locked\n",
    )
    assert mount == ExecMount("cache", "/t/x", -1, "/", False, "i", "locked", 0, 0o700, 7)


@pytest.mark.parametrize(
    ("text", "size"), [("64k", 64 << 10), ("1.5GiB", 3 << 29), ("7", 7), ("10 MB", 10 << 20), ("2b", 2)]
)
def test_sizes(text, size):
    (mount,) = mounts(f"--mount='type=tmpfs,target=/t,size={text}'")
    assert mount.size_bytes == size


def test_owner_and_mode_of_a_cache_stand_for_what_it_begins_with():
    (plain,) = mounts("--mount=type=cache,target=/c,from=b,source=/o,uid=9")
    assert plain.input == 1 and (plain.user_id, plain.mode) == (0, None)
    (own,) = mounts("--mount=type=cache,target=/c,from=b,uid=9")
    assert own.input == -1 and own.user_id == 9


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--mount=type=cache,source=/o,target=/c", 'cache mount: "/o": not found'),
        ("--mount=type=tmpfs,target=/proc/x", 'invalid mount target "/proc/x": nothing can be mounted in /proc'),
        ("--mount=type=secret,id=x,target=/", 'invalid mount target "/"'),
        ("--mount=type=secret,id=x,env=A=B", "invalid value for env: A=B"),
        ("--mount=target=/x,env=A", "unexpected key 'env' for mount type 'bind'"),
        ("--mount=type=cache,target=/x,uid=4294967296", "invalid value 4294967296 for uid"),
        ("--mount=type=tmpfs,target=/x,size=9999999999999p", "invalid value for size: 9999999999999p"),
        ("--mount=type=cache,target=/x,mode=-1", "invalid value -1 for mode"),
    ],
)
def test_errors(flags, message):
    assert error(f"FROM a\nRUN {flags} true\n") == message


def test_stages_below_and_circles():
    assert error("FROM a AS x\nRUN --mount=from=y,target=/m z\nFROM a AS y\nRUN z\nFROM x\n") == (
        'cannot mount from stage "y" to "/m", stage needs to be defined before current command'
    )
    assert error("FROM a AS x\nRUN --mount=from=x,target=/m z\n") == "circular dependency detected on stage: x"
