"""Dockerfile to graph: facts "ARG/ENV", "FROM / stages", "Config instructions", "Heredoc", ONBUILD, and what was
measured on dockerd 28, which wins over the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from cais.build.dockerfile.errors import DockerfileError, Located, NotAllowed, Span
from cais.build.dockerfile.parser import parse
from cais.build.graph import Copy, Exec, InlineFile, LocalSource, MakeDirectory, SourceImage, Vertex, reachable
from cais.build.lower import lower
from cais.build.lowering.process import RunSettings
from cais.build.lowering.result import Lowered
from cais.errors import CaisError, Denied, Invalid, NotFound
from cais.spec.image_config import ImageConfig
from cais.spec.platform import Platform

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
DIFF_ID = "sha256:" + "1" * 64
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Images:
    """Base images by their full names; what is asked for is remembered."""

    def __init__(self, configs: Mapping[str, dict[str, Any]] | None = None) -> None:
        self.configs = dict(configs or {})
        self.asked: list[tuple[str, Platform]] = []

    def __call__(self, reference: str, platform: Platform) -> ImageConfig:
        self.asked.append((reference, platform))
        if "missing" in reference:
            raise NotFound(f"No such image: {reference}")
        run = self.configs.get(reference.removeprefix("docker.io/library/").removesuffix(":latest"), {})
        return ImageConfig(
            {
                **platform.to_json(),
                "config": {"Env": ["PATH=/bin"], **run},
                "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
                "history": [{"created_by": "base"}],
            }
        )


def build(text: str, images: Images | None = None, **options: Any) -> Lowered:
    options.setdefault("platform", AMD64)
    options.setdefault("build_platform", AMD64)
    return lower(parse(text), base=images or Images(), **options)


def error(text: str, kind: type[CaisError] = DockerfileError, **options: Any) -> CaisError:
    with pytest.raises(kind) as caught:
        build(text, **options)
    return caught.value


def execs(lowered: Lowered) -> list[Exec]:
    return [vertex.op for vertex in reachable(lowered.vertex) if isinstance(vertex.op, Exec)]


def copies(lowered: Lowered) -> list[Copy]:
    return [vertex.op for vertex in reachable(lowered.vertex) if isinstance(vertex.op, Copy)]


def last_exec(text: str, **options: Any) -> dict[str, str]:
    """The environment of the last RUN."""
    return dict(execs(build(text, **options))[-1].env)


def created_by(lowered: Lowered) -> list[str]:
    return [entry.created_by for entry in lowered.history]


def codes(lowered: Lowered) -> list[str]:
    return [warned.code for warned in lowered.warnings]


# ARG and ENV


def test_arg_before_from_is_visible_only_in_from_lines() -> None:
    assert "V" not in last_exec("ARG V=1\nFROM a:$V\nRUN x\n")
    assert last_exec("ARG V=1\nFROM a:$V\nARG V\nRUN x\n")["V"] == "1"
    images = Images()
    build("ARG V=1\nFROM a:$V\n", images)
    assert images.asked == [("docker.io/library/a:1", AMD64)]


def test_meta_args_may_use_earlier_ones_and_quotes() -> None:
    images = Images()
    build('ARG a1="box"\nARG a2="$a1-foo"\nFROM busy$a1:$a2\n', images)
    assert images.asked[0][0] == "docker.io/library/busybox:box-foo"


def test_the_command_line_wins_over_a_meta_arg() -> None:
    assert last_exec("ARG V=1\nFROM a\nARG V\nRUN x\n", build_args={"V": "2"})["V"] == "2"


def test_a_stage_arg_cannot_influence_a_later_from() -> None:
    lowered = build("FROM a AS b\nARG V=x\nFROM a:${V:-none}\nRUN y\n")
    assert lowered.base_reference == "docker.io/library/a:none"


def test_arg_without_a_value_stays_unset_and_arg_empty_is_empty() -> None:
    assert "FOO" not in last_exec("FROM a\nARG FOO\nRUN x\n")
    assert last_exec("FROM a\nARG BAR=\nRUN x\n")["BAR"] == ""


def test_an_empty_build_arg_differs_from_none() -> None:
    text = "FROM a\nARG X\nENV a=${X:-def} b=${X-def}\nRUN x\n"
    assert {**last_exec(text, build_args={"X": ""})}.items() >= {"a": "def", "b": "", "X": ""}.items()
    assert last_exec(text)["b"] == "def"


def test_a_required_variable_fails_the_build() -> None:
    found = error('FROM a\nENV x=${FOO:?"foo missing"}\n')
    assert "FOO: foo missing" in found.message
    assert isinstance(found, Located) and found.span == Span(2, 2)


def test_env_wins_over_arg_from_its_line_on() -> None:
    assert last_exec("FROM a\nARG v=arg\nENV v=env\nRUN x\n", build_args={"v": "cli"})["v"] == "env"


def test_measured_arg_after_env_wins_in_run() -> None:
    lowered = build("FROM a\nENV a=1\nARG a=2\nRUN x\n")
    assert dict(execs(lowered)[0].env)["a"] == "2"
    assert "a=1" in lowered.run["Env"]


def test_arg_without_value_leaves_an_env_of_its_name() -> None:
    assert last_exec("FROM a\nENV a=1\nARG a\nRUN x\n")["a"] == "1"


def test_measured_all_right_hand_sides_see_the_environment_before_the_line() -> None:
    assert last_exec("FROM a\nENV a=old\nENV a=new b=$a\nRUN x\n")["b"] == "old"


def test_env_forms() -> None:
    env = last_exec("FROM a\nENV k v with  'spaces'\nENV m=v\\ w n=\"a b\" o='$k' p=foo%sbar q=\nRUN x\n")
    assert {key: env[key] for key in "kmnopq"} == {
        "k": "v with  spaces", "m": "v w", "n": "a b", "o": "$k", "p": "foo%sbar", "q": "",
    }  # fmt: skip


def test_unset_variables_expand_to_nothing_and_warn() -> None:
    lowered = build("FROM a\nENV x=a${NOPE}b\nLABEL l=$NOPE\nCOPY x$NOPE /y\n")
    assert "x=ab" in lowered.run["Env"]
    assert lowered.run["Labels"] == {"l": ""}
    assert codes(lowered).count("UndefinedVar") == 3


def test_expansion_leaves_run_cmd_entrypoint_and_healthcheck_alone() -> None:
    lowered = build('FROM a\nENV v=1\nRUN $v\nCMD $v\nENTRYPOINT ["$v"]\nHEALTHCHECK CMD $v\n')
    assert execs(lowered)[0].args == ("/bin/sh", "-c", "$v")
    assert lowered.run["Entrypoint"] == ["$v"]
    assert lowered.run["Healthcheck"]["Test"] == ["CMD-SHELL", "$v"]


def test_expansion_reaches_the_other_instructions() -> None:
    lowered = build(
        "FROM a\nENV v=x1 s=SIGUSR1 p=80\nLABEL $v=$v\nUSER $v\nVOLUME /$v\nWORKDIR /$v\nEXPOSE $p\n"
        "STOPSIGNAL $s\nCOPY --chown=$v --chmod=0$p $v /$v/\n".replace("0$p", "7${u:-55}")
    )
    run = lowered.run
    assert (run["Labels"], run["User"], run["Volumes"]) == ({"x1": "x1"}, "x1", {"/x1": {}})
    assert (run["WorkingDir"], run["ExposedPorts"], run["StopSignal"]) == ("/x1", {"80/tcp": {}}, "SIGUSR1")
    assert copies(lowered)[0] == Copy(("x1",), "/x1/", (), "x1", "755")


def test_proxy_arguments_need_no_arg_and_leave_no_trace() -> None:
    lowered = build("FROM a\nRUN x\n", build_args={"http_proxy": "p"})
    (op,) = execs(lowered)
    assert dict(op.hidden_env) == {"HTTP_PROXY": "p", "http_proxy": "p"}
    assert "http_proxy" not in dict(op.env)
    assert created_by(lowered) == ["RUN /bin/sh -c x # buildkit"]
    assert codes(lowered) == []


def test_a_declared_proxy_argument_is_an_ordinary_one() -> None:
    lowered = build("FROM a\nARG http_proxy\nRUN x\n", build_args={"http_proxy": "p"})
    (op,) = execs(lowered)
    assert dict(op.env)["http_proxy"] == "p"
    assert dict(op.hidden_env) == {"HTTP_PROXY": "p"}
    assert created_by(lowered)[-1] == "RUN |1 http_proxy=p /bin/sh -c x # buildkit"


def test_platform_arguments_in_from_without_arg_and_in_stages_after_arg() -> None:
    images = Images()
    lowered = build(
        "FROM --platform=$BUILDPLATFORM a:$TARGETARCH\nRUN x\nARG TARGETARCH\nARG TARGETPLATFORM BUILDARCH\nRUN y\n",
        images,
        platform=ARM64,
    )
    assert images.asked == [("docker.io/library/a:arm64", AMD64)]
    first, second = execs(lowered)
    assert "TARGETARCH" not in dict(first.env)
    assert dict(second.env).items() >= {
        "TARGETARCH": "arm64", "TARGETPLATFORM": "linux/arm64", "BUILDARCH": "amd64",
    }.items()  # fmt: skip


def test_measured_a_platform_argument_from_the_command_line_wins() -> None:
    text = "FROM a:$TARGETARCH\nARG TARGETARCH\nRUN x\n"
    images = Images()
    lowered = build(text, images, build_args={"TARGETARCH": "z80"})
    assert dict(execs(lowered)[0].env)["TARGETARCH"] == "z80"
    assert images.asked[0][0] == "docker.io/library/a:z80"


def test_an_undeclared_build_arg_is_a_warning() -> None:
    lowered = build("FROM a\nARG Y\n", build_args={"X": "1", "Y": "1", "BUILDKIT_INLINE_CACHE": "1"})
    assert [warned.message for warned in lowered.warnings] == ["One or more build-args [X] were not consumed"]


def test_args_are_inherited_by_a_stage_from_it_but_not_by_siblings() -> None:
    text = "FROM a AS b\nARG V=1\nFROM b\nRUN x\n"
    assert last_exec(text)["V"] == "1"
    assert "V" not in last_exec("FROM a AS b\nARG V=1\nFROM a\nRUN x\n")


def test_args_are_in_history_but_not_in_the_image() -> None:
    lowered = build("FROM a\nARG foo=bar x\nRUN c\n")
    assert created_by(lowered) == ["ARG foo=bar x", "RUN |2 foo=bar x= /bin/sh -c c # buildkit"]
    assert lowered.run["Env"] == ["PATH=/bin"]


# FROM and stages


def test_from_scratch_has_the_default_path_and_no_base() -> None:
    lowered = build("FROM scratch\nCOPY a /\n")
    assert lowered.run == {"Env": [f"PATH={DEFAULT_PATH}"], "WorkingDir": "/"}
    assert (lowered.base, lowered.base_reference, lowered.platform) == (None, "", AMD64)
    assert lowered.vertex is not None and lowered.vertex.inputs[0] is None


def test_an_empty_image() -> None:
    lowered = build("FROM scratch\nLABEL a=b\n")
    assert lowered.vertex is None
    assert lowered.layers == ()


def test_a_base_without_path_gets_one() -> None:
    lowered = build("FROM a\n", Images({"a": {"Env": ["X=1"]}}))
    assert lowered.run["Env"] == ["X=1", f"PATH={DEFAULT_PATH}"]


def test_the_base_stands_below() -> None:
    lowered = build("FROM debian\nRUN x\n")
    assert lowered.base_reference == "docker.io/library/debian:latest"
    assert lowered.base is not None and lowered.base.diff_ids == (DIFF_ID,)
    (layer,) = lowered.layers
    assert isinstance(layer.op, Exec)
    assert layer.inputs[0] is not None and layer.inputs[0].op == SourceImage("docker.io/library/debian:latest", AMD64)


def test_copy_from_by_number_by_name_in_any_case_and_of_an_image() -> None:
    images = Images()
    lowered = build(
        "FROM a AS One\nRUN x\nFROM scratch\nCOPY --from=0 /a /a\nCOPY --from=oNE b/ b\nCOPY --from=busybox /c /\n",
        images,
    )
    first, second, third = lowered.layers
    assert first.inputs[1] is second.inputs[1]
    source = third.inputs[1]
    assert source is not None and source.op == SourceImage("docker.io/library/busybox:latest", AMD64)
    assert second.op == Copy(("b",), "/b", from_context=False)
    assert ("docker.io/library/busybox:latest", AMD64) in images.asked


def test_copy_from_scratch_is_refused() -> None:
    assert "scratch" in error("FROM a\nCOPY --from=scratch a b\n").message


def test_copy_from_an_unknown_name_is_an_image() -> None:
    found = error("FROM a AS build\nFROM a\nCOPY --from=missing-bulid x y\n", NotFound)
    assert isinstance(found, Located) and found.span == Span(3, 3)
    assert "No such image: docker.io/library/missing-bulid:latest" in found.message


def test_copy_from_what_is_no_image_name() -> None:
    assert 'failed to parse stage name "A b"' in error('FROM a\nCOPY --from="A b" x y\n').message


def test_measured_variables_in_copy_from_are_refused() -> None:
    assert 'failed to parse stage name "$FOO"' in error("FROM a\nARG FOO=b\nCOPY --from=$FOO x y\n").message


def test_copy_from_a_later_stage_is_refused() -> None:
    found = error("FROM a AS one\nCOPY --from=two x y\nFROM a AS two\n", target="one")
    assert found.message == 'cannot copy from stage "two", it needs to be defined before current stage "one"'


def test_circular_stages() -> None:
    assert error("FROM a AS b\nCOPY --from=b x y\n").message == "circular dependency detected on stage: b"
    found = error("FROM a AS b\nCOPY --from=c x y\nFROM b AS c\n")
    assert "circular dependency detected on stage" in found.message


def test_a_stage_number_that_is_not_there() -> None:
    assert error("FROM a\nCOPY --from=7 x y\n").message == "invalid stage index 7"
    assert error("FROM a\nCOPY --from=-1 x y\n").message == "invalid stage index -1"


def test_measured_what_nothing_needs_is_not_built_not_even_asked_for() -> None:
    images = Images()
    lowered = build(
        "FROM missing AS unused\nRUN --mount=type=cache,target=/x false\nFROM a AS t\nRUN x\nFROM t\n", images
    )
    assert [op.args[-1] for op in execs(lowered)] == ["x"]
    assert images.asked == [("docker.io/library/a:latest", AMD64)]
    assert [stage.name for stage in lowered.stages] == ["t", "stage-2"]


def test_a_base_is_asked_for_once() -> None:
    images = Images()
    build("FROM a AS x\nFROM a\nCOPY --from=x b c\nCOPY --from=a b c\n", images)
    assert len(images.asked) == 1


def test_a_missing_base_names_the_line_and_a_stage_spelt_like_it() -> None:
    found = error("FROM a AS missing1\nFROM missing2\n", NotFound)
    assert found.message.endswith("(did you mean missing1?)")
    assert isinstance(found, Located) and found.span == Span(2, 2)


def test_a_stage_from_a_stage_inherits_its_config_and_history() -> None:
    lowered = build("FROM a AS b\nENV e=1\nWORKDIR /w\nUSER u\nLABEL l=1\nRUN x\nFROM b\nRUN y\n")
    assert lowered.run["WorkingDir"] == "/w"
    assert (lowered.run["User"], lowered.run["Labels"]) == ("u", {"l": "1"})
    assert created_by(lowered)[-2:] == ["RUN /bin/sh -c x # buildkit", "RUN /bin/sh -c y # buildkit"]
    assert execs(lowered)[-1].user == "u"


def test_changes_of_a_child_do_not_reach_its_parent() -> None:
    lowered = build("FROM a AS b\nLABEL l=1\nENV e=1\nFROM b AS c\nLABEL l=2\nENV e=2\nFROM b\nCOPY --from=c x y\n")
    assert lowered.run["Labels"] == {"l": "1"}
    assert "e=1" in lowered.run["Env"]


def test_target_by_name_in_any_case_and_by_number() -> None:
    text = "FROM a AS one\nRUN 1\nFROM a AS two\nRUN 2\n"
    assert execs(build(text, target="ONE"))[0].args[-1] == "1"
    assert execs(build(text, target="0"))[0].args[-1] == "1"
    assert execs(build(text))[0].args[-1] == "2"


def test_an_unknown_target_names_the_nearest() -> None:
    found = error("FROM a AS build\n", Invalid, target="bulid")
    assert found.message == 'target stage "bulid" could not be found (did you mean build?)'


def test_a_blank_base_and_a_blank_platform() -> None:
    assert error("FROM $nothing\n").message == "base name ($nothing) should not be blank"
    assert "empty platform value" in error("FROM --platform=$nothing a\n").message
    assert error("FROM --platform=$BULIDPLATFORM a\n").message == (
        "empty platform value from expression $BULIDPLATFORM (did you mean BUILDPLATFORM?)"
    )
    assert "failed to parse platform" in error("FROM --platform=a/b/c/d a\n").message


def test_a_base_of_another_platform_is_a_warning() -> None:
    class Other(Images):
        def __call__(self, reference: str, platform: Platform) -> ImageConfig:
            return super().__call__(reference, ARM64)

    lowered = build("FROM a\n", Other())
    assert codes(lowered) == ["InvalidBaseImagePlatform"]
    assert lowered.platform == ARM64


def test_named_contexts_stand_before_stages_and_images() -> None:
    images = Images()
    text = "FROM a AS b\nRUN never\nFROM c\nCOPY --from=b x y\nCOPY --from=files z y\n"
    lowered = build(text, images, contexts={"b": "docker-image://d", "c": "docker-image://e", "files": "/some/dir"})
    assert {reference for reference, _ in images.asked} == {"docker.io/library/d:latest", "docker.io/library/e:latest"}
    assert execs(lowered) == []
    first, second = lowered.layers
    assert second.inputs[1] is not None and second.inputs[1].op == LocalSource("files")
    assert isinstance(second.op, Copy) and second.op.from_context
    assert isinstance(first.op, Copy) and not first.op.from_context


def test_a_named_context_that_is_scratch() -> None:
    contexts = {"b": "docker-image://scratch"}
    for text in ("FROM b\nCOPY x y\n", "FROM a AS b\nRUN never\nFROM b\nCOPY x y\n"):
        lowered = build(text, contexts=contexts)
        assert lowered.base is None and len(lowered.layers) == 1 and execs(lowered) == []
    assert "scratch is empty" in error("FROM a\nCOPY --from=b x y\n", contexts=contexts).message


def test_a_stage_from_a_directory() -> None:
    lowered = build("FROM files\nRUN x\n", contexts={"files": "/some/dir"})
    (below, _) = lowered.layers
    assert below.op == Copy((".",), "/")
    assert lowered.base is None


def test_steps_and_their_titles() -> None:
    lowered = build("FROM a AS builder\nENV x=1\nRUN make $x\nWORKDIR /w\nFROM scratch\nCOPY --from=builder /x /\n")
    assert [vertex.origin.title for vertex in reachable(lowered.vertex)] == [
        "[builder 1/3] FROM docker.io/library/a:latest",
        "[builder 2/3] RUN make 1",
        "[builder 3/3] WORKDIR /w",
        "[stage-1 1/1] COPY --from=builder /x /",
    ]
    alone = build("FROM a\ncopy a b\n")
    assert [vertex.origin.title for vertex in reachable(alone.vertex)] == [
        "[1/2] FROM docker.io/library/a:latest",
        "[internal] load build context",
        "[2/2] COPY a b",
    ]


def test_origins_know_their_lines() -> None:
    lowered = build("FROM a\n\nRUN a \\\n && b\n")
    assert lowered.vertex is not None
    assert (lowered.vertex.origin.first_line, lowered.vertex.origin.last_line) == (3, 4)


# Config instructions


def test_expose_words_ranges_and_protocols() -> None:
    lowered = build('FROM a\nENV PORTS="3000 4000/udp"\nEXPOSE $PORTS 80-82 53/UDP 127.0.0.1:8080:90\n')
    assert list(lowered.run["ExposedPorts"]) == [
        "3000/tcp", "4000/udp", "53/udp", "80/tcp", "81/tcp", "82/tcp", "90/tcp",
    ]  # fmt: skip
    assert codes(lowered) == ["ExposeProtoCasing", "ExposeInvalidFormat"]


@pytest.mark.parametrize(
    "port", ["x", "80/icmp", "70000", "9-8", "/tcp", "-1", "1-2-3", "x:80", "1:", "x:1:1", "::1:1:1"]
)
def test_bad_ports(port: str) -> None:
    found = error(f"FROM a\nEXPOSE {port}\n")
    assert isinstance(found, Located) and found.span.first_line == 2


def test_later_labels_win_and_the_option_wins_over_the_file() -> None:
    lowered = build('FROM a\nLABEL b=1 a=1 "c d"=e\nLABEL a=2\n', labels={"b": "cli"})
    assert lowered.run["Labels"] == {"a": "2", "b": "cli", "c d": "e"}
    assert list(lowered.run["Labels"]) == ["a", "b", "c d"]


def test_measured_entrypoint_clears_the_cmd_of_the_base_only() -> None:
    images = Images({"a": {"Cmd": ["sh"]}})
    assert "Cmd" not in build("FROM a\nENTRYPOINT x\n", images).run
    assert build("FROM a\nCMD y\nENTRYPOINT x\n", images).run["Cmd"] == ["/bin/sh", "-c", "y"]
    assert "Cmd" not in build("FROM a AS b\nCMD y\nFROM b\nENTRYPOINT x\n", images).run
    assert build("FROM a\nRUN z\n", images).run["Cmd"] == ["sh"]


def test_shell_is_used_kept_and_inherited() -> None:
    lowered = build('FROM a AS b\nSHELL ["ls"]\nFROM b\nENTRYPOINT my entrypoint\nRUN x y\n')
    assert lowered.run["Entrypoint"] == ["ls", "my entrypoint"]
    assert lowered.run["Shell"] == ["ls"]
    assert execs(lowered)[0].args == ("ls", "x y")


def test_cmd_empty_clears_and_run_empty_fails() -> None:
    assert "Cmd" not in build("FROM a\nCMD []\n", Images({"a": {"Cmd": ["sh"]}})).run
    assert "arguments are required" in error("FROM a\nRUN []\n").message


def test_run_exec_form_has_no_shell() -> None:
    assert execs(build('FROM a\nRUN ["a", "$b"]\n'))[0].args == ("a", "$b")


def test_measured_malformed_json_in_run_is_a_shell_command() -> None:
    assert execs(build('FROM a\nRUN ["echo","x"]junk\n'))[0].args == ("/bin/sh", "-c", '["echo","x"]junk')


def test_run_ignores_entrypoint_and_cmd() -> None:
    lowered = build("FROM a\nRUN x\n", Images({"a": {"Entrypoint": ["e"], "Cmd": ["c"]}}))
    assert execs(lowered)[0].args == ("/bin/sh", "-c", "x")


def test_workdir_is_below_the_one_before_and_clean() -> None:
    lowered = build("FROM a\nUSER u\nWORKDIR /a/b/\nWORKDIR c\nWORKDIR ..\nRUN x\n")
    made = [vertex.op for vertex in reachable(lowered.vertex) if isinstance(vertex.op, MakeDirectory)]
    assert made == [MakeDirectory("/a/b", "u"), MakeDirectory("/a/b/c", "u"), MakeDirectory("/a/b", "u")]
    assert (lowered.run["WorkingDir"], execs(lowered)[0].cwd) == ("/a/b", "/a/b")


def test_an_absolute_workdir_is_kept_as_written() -> None:
    lowered = build("FROM a\nWORKDIR /a//b/\nRUN x\n")
    assert (lowered.run["WorkingDir"], execs(lowered)[0].cwd) == ("/a//b/", "/a/b")
    assert created_by(lowered)[0] == "WORKDIR /a//b/"


def test_run_and_cmd_of_nothing_give_the_shell_nothing() -> None:
    lowered = build("FROM a\nRUN\nCMD\nENTRYPOINT\n")
    assert execs(lowered)[0].args == ("/bin/sh", "-c", "")
    assert lowered.run["Cmd"] == lowered.run["Entrypoint"] == ["/bin/sh", "-c", ""]


def test_workdir_root_makes_no_layer() -> None:
    lowered = build("FROM a\nWORKDIR /\n")
    assert lowered.layers == ()
    assert created_by(lowered) == ["WORKDIR /"]


def test_user_is_kept_as_written() -> None:
    assert build("FROM a\nUSER 1001:dockerio\n").run["User"] == "1001:dockerio"


@pytest.mark.parametrize("signal", ["SIGTERM", "term", "9", "SIGRTMIN+3", "WINCH", "65", "-9", "+9"])
def test_good_signals(signal: str) -> None:
    assert build(f"FROM a\nSTOPSIGNAL {signal}\n").run["StopSignal"] == signal


@pytest.mark.parametrize("signal", ["SIGFOO", "0", "-0", "9-", "1e1"])
def test_bad_signals(signal: str) -> None:
    assert f"invalid signal: {signal}" in error(f"FROM a\nSTOPSIGNAL {signal}\n").message


def test_healthcheck_in_nanoseconds_and_none() -> None:
    lowered = build("FROM a\nHEALTHCHECK --interval=5s --start-interval=1s --retries=3 CMD x\n")
    assert lowered.run["Healthcheck"] == {
        "Test": ["CMD-SHELL", "x"], "Interval": 5 * 10**9, "StartInterval": 10**9, "Retries": 3,
    }  # fmt: skip
    assert build("FROM a\nHEALTHCHECK NONE\n").run["Healthcheck"] == {"Test": ["NONE"]}


def test_volumes_accumulate_and_make_no_layer() -> None:
    lowered = build('FROM a\nVOLUME /b rel\nVOLUME ["/a b"]\n', Images({"a": {"Volumes": {"/base": {}}}}))
    assert list(lowered.run["Volumes"]) == ["/a b", "/b", "/base", "rel"]
    assert lowered.layers == ()
    assert "Volumes" not in build("FROM a\n").run


def test_maintainer_is_the_author() -> None:
    assert build("FROM a\nMAINTAINER A <b>\n").author == "A <b>"


# COPY and ADD


@pytest.mark.parametrize(
    ("workdir", "text", "expected"),
    [
        ("/w", "x", "/w/x"), ("/w", "x/", "/w/x/"), ("/w", "/x", "/x"), ("/w", ".", "/w/"), ("/w", "./", "/w/"),
        ("/w", "..", "/"), ("/w", "../x/.", "/x/"), ("/", ".", "/"), ("/w", "/", "/"), ("/w", "$empty", "/w/"),
        ("/w", "/../../x", "/x"),
    ],
)  # fmt: skip
def test_destinations(workdir: str, text: str, expected: str) -> None:
    assert copies(build(f"FROM a\nWORKDIR {workdir}\nCOPY f {text}\n"))[0].destination == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a/b", "a/b"), ("./a/", "a"), ("/a", "a"), (".", "."), ("/", "."), ("../../a", "a"), ("a/../b/*", "b/*"),
     ("a[[]0].txt", "a[[]0].txt")],
)  # fmt: skip
def test_sources_are_relative_to_the_root_and_clamped(text: str, expected: str) -> None:
    assert copies(build(f"FROM a\nCOPY {text} /x/\n"))[0].sources == (expected,)


def test_add_unpacks_unless_told_not_to() -> None:
    assert copies(build("FROM a\nADD a.tar /x\n"))[0].unpack
    assert not copies(build("FROM a\nADD --unpack=false a.tar /x\n"))[0].unpack
    assert not copies(build("FROM a\nCOPY a.tar /x\n"))[0].unpack


def test_one_context_for_all() -> None:
    lowered = build("FROM a\nCOPY a b\nADD c d\n")
    first, second = lowered.layers
    assert first.inputs[1] is second.inputs[1]
    assert first.inputs[1] is not None and first.inputs[1].op == LocalSource("")


@pytest.mark.parametrize("chmod", ["64a", "8", "17777", "-1", "0x1ff"])
def test_bad_chmod(chmod: str) -> None:
    message = f"invalid chmod parameter: '{chmod}'. it should be octal string and between 0 and 07777"
    assert error(f"FROM a\nCOPY --chmod={chmod} a b\n").message == message


def test_copy_of_urls_is_refused() -> None:
    assert error("FROM a\nCOPY https://x/y /z\n").message == "source can't be a URL for COPY"
    assert error("FROM a\nCOPY git@h:x /z\n").message == "source can't be a git ref for COPY"


def test_a_privilege_has_to_be_allowed() -> None:
    text = "FROM a\nRUN a\nRUN --security=insecure b\n"
    found = error(text, Denied)
    assert isinstance(found, NotAllowed)
    assert found.message == "security.insecure is not allowed"
    assert found.span == Span(3, 3)
    allowed = RunSettings(allowed=("security.insecure",))
    assert [op.security for op in execs(build(text, runs=allowed))] == ["", "insecure"]


def test_hosts_and_devices_of_run() -> None:
    hosts = (("db", "1.2.3.4"),)
    (op,) = execs(build("FROM a\nRUN --device=x.y/z=1,required b\n", runs=RunSettings(hosts=hosts)))
    assert (op.hosts, op.devices) == (hosts, ("x.y/z=1,required",))
    assert error("FROM a\nRUN --device=x b\n").message == 'invalid device "x"'


def test_flags_that_say_the_default_are_fine() -> None:
    build("FROM a\nCOPY --link=false --parents=false a b\nADD --keep-git-dir=false a b\nRUN --security=sandbox x\n")


def test_a_checksum_needs_a_url() -> None:
    assert error("FROM a\nADD --checksum=sha256:x a b\n").message == "checksum requires HTTP(S) or Git sources"


# RUN


def test_network() -> None:
    text = "FROM a\nRUN a\nRUN --network=none b\nRUN --network=default c\nRUN --network=host d\n"
    allowed = RunSettings(allowed=("network.host",))
    assert [op.network for op in execs(build(text, runs=allowed))] == ["default", "none", "default", "host"]
    assert [op.network for op in execs(build(text, runs=RunSettings("host")))] == ["host", "none", "host", "host"]
    with pytest.raises(NotAllowed, match=r"network\.host is not allowed") as error:
        build(text)
    assert error.value.span == (5, 5)


def test_run_has_the_image_environment_in_order() -> None:
    lowered = build("FROM a\nENV x=1\nARG y=2\nRUN x\n")
    assert execs(lowered)[0].env == (("PATH", "/bin"), ("x", "1"), ("y", "2"))


# Heredocs


def test_a_heredoc_is_run_by_the_shell_as_a_script() -> None:
    (op,) = execs(build("FROM a\nRUN <<EOF\na $x\nb\nEOF\n"))
    assert op.args == ("/bin/sh", "-c", "a $x\nb\n")
    assert op.scripts == ()


def test_a_heredoc_with_an_interpreter_is_a_script_of_its_own() -> None:
    (op,) = execs(build("FROM a\nRUN <<-EOF\n\t#!/usr/bin/python3\n\tprint(1)\nEOF\n"))
    assert op.args == ("/bin/sh", "-c", "/dev/pipes/EOF")
    assert op.scripts == (("EOF", "#!/usr/bin/python3\nprint(1)\n"),)


def test_a_script_name_does_not_lead_elsewhere() -> None:
    (op,) = execs(build("FROM a\nRUN <<../../etc/x\n#!/bin/sh\n../../etc/x\n"))
    assert "/" not in op.scripts[0][0]


def test_several_heredocs_and_descriptors_go_to_the_shell_as_written() -> None:
    (op,) = execs(build("FROM a\nRUN cat <<A | tr a b; cat 3<<-B\na\nA\n\tb\n\tB\n"))
    assert op.args[-1] == "cat <<A | tr a b; cat 3<<-B\na\nA\n\tb\nB"


def test_a_heredoc_with_another_shell_is_not_special() -> None:
    assert execs(build('FROM a\nSHELL ["awk"]\nRUN <<EOF\nx\nEOF\n'))[0].args == ("awk", "x\n")


def test_copy_heredocs_expand_unless_quoted_and_keep_quotes() -> None:
    text = "FROM a\nENV v=1\nCOPY <<A <<'B' /d/\n\"$v\" 'x' \\$v\nA\n$v\nB\n"
    (op,) = copies(build(text))
    assert op.inline == (InlineFile("A", b"\"1\" 'x' $v\n"), InlineFile("B", b"$v\n"))
    assert (op.sources, op.destination) == ((), "/d/")


def test_a_copy_of_heredocs_only_does_not_need_the_context() -> None:
    lowered = build("FROM scratch\nCOPY --chmod=755 <<A /f\nx\nA\n")
    assert [type(vertex.op) for vertex in reachable(lowered.vertex)] == [Copy]
    assert created_by(lowered) == ["COPY --chmod=755 <<A /f # buildkit"]


def test_progress_shows_the_first_line_of_a_heredoc() -> None:
    lowered = build("FROM a\nRUN <<EOF\nfirst\nsecond\nEOF\n")
    assert lowered.vertex is not None and lowered.vertex.origin.text == "RUN <<EOF (first...)"


# ONBUILD


def test_triggers_of_an_image_run_right_after_from_and_are_cleared() -> None:
    images = Images({"a": {"OnBuild": ["RUN one", "ENV x=1", "COPY <<E /f\nbody $x\nE"]}})
    lowered = build("FROM a\nRUN two $x\n", images)
    assert [op.args[-1] for op in execs(lowered)] == ["one", "two $x"]
    assert copies(lowered)[0].inline == (InlineFile("E", b"body 1\n"),)
    assert "OnBuild" not in lowered.run
    first = next(vertex for vertex in reachable(lowered.vertex) if isinstance(vertex.op, Exec))
    assert first.origin.title == "[2/5] ONBUILD RUN one"
    assert first.origin.first_line == 1


def test_triggers_of_a_stage_run_in_its_children_and_not_in_theirs() -> None:
    text = "FROM a AS b\nONBUILD RUN trigger\nFROM b AS c\nRUN c\nFROM c\nRUN d\n"
    lowered = build(text)
    assert [op.args[-1] for op in execs(lowered)] == ["trigger", "c", "d"]
    assert "OnBuild" not in lowered.run
    assert build(text, target="b").run["OnBuild"] == ["RUN trigger"]
    assert execs(build(text, target="b")) == []


def test_a_trigger_may_copy_from_a_stage() -> None:
    images = Images({"base": {"OnBuild": ["COPY --from=assets /x /y"]}})
    lowered = build("FROM a AS assets\nRUN make\nFROM base\n", images)
    assert [op.args[-1] for op in execs(lowered)] == ["make"]


def test_a_bad_trigger_is_shown_at_its_from() -> None:
    with pytest.raises(DockerfileError, match="line 2: unknown instruction: FOO") as caught:
        build("ARG x\nFROM a\n", Images({"a": {"OnBuild": ["FOO bar"]}}))
    assert caught.value.span == Span(2, 2)


def test_onbuild_makes_no_history() -> None:
    assert created_by(build("FROM a\nONBUILD RUN x\n")) == []


# History


def test_history_in_buildkits_words() -> None:
    lowered = build(
        'FROM a\nARG v=1\nENV e=2 f="x y"\nLABEL l=3\nMAINTAINER m\nRUN r\n'
        "COPY --chown=1:2 --from=b s t /d/\nADD u /d/\n"
        'WORKDIR /w\nUSER u\nCMD ["a", "b\\"c"]\nENTRYPOINT e\n'
        'EXPOSE 80 443/udp\nVOLUME /v /w\nSHELL ["/bin/x", "-c"]\n'
        "STOPSIGNAL TERM\nHEALTHCHECK --interval=90s --retries=3 CMD h\n"
    )
    assert created_by(lowered) == [
        "ARG v=1",
        "ENV e=2 f=x y",
        "LABEL l=3",
        "MAINTAINER m",
        "RUN |1 v=1 /bin/sh -c r # buildkit",
        "COPY --chown=1:2 s t /d/ # buildkit",
        "ADD u /d/ # buildkit",
        "WORKDIR /w",
        "USER u",
        'CMD ["a" "b\\"c"]',
        'ENTRYPOINT ["/bin/sh" "-c" "e"]',
        "EXPOSE map[443/udp:{} 80/tcp:{}]",
        "VOLUME [/v /w]",
        "SHELL [/bin/x -c]",
        "STOPSIGNAL TERM",
        'HEALTHCHECK &{["CMD-SHELL" "h"] "1m30s" "0s" "0s" "0s" \'\\x03\'}',
    ]
    assert [entry.vertex is not None for entry in lowered.history].count(True) == len(lowered.layers) == 4
    assert lowered.history[0].to_json("now") == {
        "created": "now", "created_by": "ARG v=1", "comment": "buildkit.dockerfile.v0", "empty_layer": True,
    }  # fmt: skip


def test_bytes_that_are_not_utf8_become_unicode_in_the_config() -> None:
    lowered = lower(
        parse(b"FROM a\nLABEL x=\xff\nCOPY \xff /\xff\n"), base=Images(), platform=AMD64, build_platform=AMD64
    )
    assert lowered.run["Labels"] == {"x": "\ufffd"}
    assert created_by(lowered)[1] == "COPY \ufffd /\ufffd # buildkit"
    assert copies(lowered)[0].sources[0].encode("utf-8", "surrogateescape") == b"\xff"


def test_the_same_input_gives_the_same_output() -> None:
    text = "FROM a\nENV b=1 a=2\nLABEL z=1 y=2\nEXPOSE 90 80\nVOLUME /z /a\nRUN x\n"
    one, two = build(text), build(text)
    assert list(one.run) == list(two.run)
    assert repr(one.run) == repr(two.run)


# Warnings


def test_checks() -> None:
    lowered = build(
        "FROM --platform=linux/amd64 a AS Scratch\nfrom a as scratch\nMAINTAINER m\nENV a b\n"
        "ARG MY_TOKEN\nRUN x \\\n\n y\n"
        "CMD a\nCMD b\nWORKDIR rel\n"
    )
    assert set(codes(lowered)) == {
        "FromPlatformFlagConstDisallowed", "StageNameCasing", "ReservedStageName", "DuplicateStageName",
        "MaintainerDeprecated", "LegacyKeyValueFormat", "SecretsUsedInArgOrEnv", "NoEmptyContinuation",
        "JSONArgsRecommended", "MultipleInstructionsDisallowed", "WorkdirRelativePath", "ConsistentInstructionCasing",
    }  # fmt: skip


def test_checks_can_be_skipped() -> None:
    assert codes(build("# check=skip=MaintainerDeprecated\nFROM a\nMAINTAINER m\n")) == []
    assert codes(build("# check=skip=all\nFROM a\nMAINTAINER m\nCMD x\n")) == []


def test_skipping_reaches_what_only_lowering_sees() -> None:
    assert codes(build("# check=skip=UndefinedVar\nFROM a\nENV x=$y\n")) == []


def test_checks_can_be_errors() -> None:
    found = error("# check=error=true\nFROM a\nMAINTAINER m\n")
    assert found.message == "lint violation found for rules: MaintainerDeprecated"
    assert isinstance(found, Located) and found.span == Span(3, 3)
    build("# check=skip=all;error=true\nFROM a\nMAINTAINER m\n")


# Size


def test_a_thousand_stages_on_each_other() -> None:
    text = "FROM a AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\nRUN {n}\n" for n in range(1000))
    assert len(execs(build(text))) == 1000


def test_a_vertex_shows_itself() -> None:
    assert repr(Vertex(LocalSource(), (), build("FROM a\nRUN x\n").layers[0].origin)) == "<Vertex 'RUN x'>"
