"""Bake files: what they define, what is chosen of it, and what overrides it. Pure: nothing is built."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cais.build.bake.choose import choose
from cais.build.bake.definition import Definition, File, read
from cais.errors import CaisError, Invalid, NotFound

_BUILDX = ("/usr/libexec/docker/cli-plugins/docker-buildx", "/usr/lib/docker/cli-plugins/docker-buildx")


def defined(*texts: str, environment: Mapping[str, str] = {}, name: str = "docker-bake.hcl") -> Definition:
    files = [File(name if len(texts) == 1 else f"{number}.hcl", text) for number, text in enumerate(texts)]
    return read(files, environment, {"BAKE_CMD_CONTEXT": "cwd://"}, "/nonexistent")


def shown(
    *texts: str, targets: Sequence[str] = (), sets: Sequence[str] = (), environment: Mapping[str, str] = {}, **how: Any
) -> dict[str, Any]:
    return choose(defined(*texts, environment=environment, **how), targets, sets, environment).shown()


def test_variables_are_read_as_their_defaults_are():
    text = """
    variable "T" { default = "a" }
    variable "N" { default = 1 }
    variable "B" { default = false }
    variable "L" {
      type = list(number)
      default = [1]
    }
    variable "O" {
      type = object({a = string, b = optional(number)})
      default = null
    }
    variable "NONE" {}
    target "default" { args = { t = T, n = N + 1, b = B ? "y" : "n", l = join("-", L), o = try(O.a, "-"), z = NONE } }
    """
    arguments = shown(text)["target"]["default"]["args"]
    assert arguments == {"t": "a", "n": "2", "b": "n", "l": "1", "o": "-", "z": ""}
    environment = {"T": "x", "N": "4", "B": "1", "L": "5,6", "O_JSON": '{"a": "z"}', "NONE": "some"}
    arguments = shown(text, environment=environment)["target"]["default"]["args"]
    assert arguments == {"t": "x", "n": "5", "b": "y", "l": "5-6", "o": "z", "z": "some"}
    for name, message in (("N", "failed to parse N as number"), ("B", "failed to parse B as bool")):
        with pytest.raises(Invalid, match=message):
            shown(text, environment={name: "abc"})
    for name, value in {"N": "many", "B": "perhaps", "L": "a", "O_JSON": "{"}.items():
        with pytest.raises(Invalid, match=name.removesuffix("_JSON")):
            shown(text, environment={name: value})


def test_what_is_not_valid_is_said_in_the_file_s_words():
    text = """
    variable "V" {
      default = "a"
      validation {
        condition = V == "a"
        error_message = "V is ${V}"
      }
    }
    target "default" {}
    """
    assert shown(text)["target"]["default"]["context"] == "."
    with pytest.raises(Invalid, match="V is b"):
        shown(text, environment={"V": "b"})


def test_names_that_need_themselves_are_refused():
    for text in (
        "a = b\nb = a\n",
        'variable "A" { default = A }',
        'function "f" {\n params = []\n result = f()\n}\nx = f()\n',
    ):
        with pytest.raises(Invalid, match=r"[a-z]+ cycle not allowed"):
            shown(text + '\ntarget "default" {}\n')


def test_inheriting_merging_and_overriding():
    text = """
    target "base" {
      args = { A = "base", B = "base" }
      tags = ["base"]
      platforms = ["linux/amd64"]
      cache-from = ["one"]
    }
    target "app" {
      inherits = ["base"]
      args = { B = "app", C = null }
      cache-from = [{ type = "registry", ref = "r,1" }]
      labels = { l = "${target.base.args.A}" }
      no-cache = true
    }
    """
    app = shown(text, targets=["app"])["target"]["app"]
    assert app["args"] == {"A": "base", "B": "app"} and app["tags"] == ["base"] and app["labels"] == {"l": "base"}
    assert app["cache-from"] == [{"ref": "one", "type": "registry"}, {"ref": "r,1", "type": "registry"}]
    assert app["no-cache"] is True
    sets = ["app.args.B=set", "a*.tags=x", "a*.tags=y", "app.platform+=linux/arm64", "app.no-cache=false",
            "*.push=true", "app.args.ENV", "base.args.A=other"]  # fmt: skip
    app = shown(text, targets=["app"], sets=sets, environment={"ENV": "e"})["target"]["app"]
    assert app["args"] == {"A": "other", "B": "set", "ENV": "e"} and app["tags"] == ["x", "y"]
    assert app["platforms"] == ["linux/amd64", "linux/arm64"] and app["no-cache"] is False
    assert app["output"] == [{"push": "true", "type": "image"}]
    for wrong in ("app", "app.nope=1", "app.args=1", "app.tags", "nope.tags=x", "app.pull=perhaps", "app.tags.x=1"):
        with pytest.raises(CaisError):
            shown(text, targets=["app"], sets=[wrong])


@pytest.mark.parametrize(
    ("outputs", "sets", "found"),
    [
        ("[]", ["push=true"], ["type=image,push=true"]),
        ('["type=image,compression=zstd"]', ["push=true"], ["type=image,compression=zstd,push=true"]),
        ('["type=image,compression=zstd"]', ["push=false"], ["type=image,compression=zstd,push=false"]),
        ('["type=registry"]', ["push=true"], ["type=registry"]),
        ('["type=registry"]', ["push=false"], []),
        ('["type=local,dest=o"]', ["push=true"], ["type=local,dest=o"]),
        ('["type=docker"]', ["push=true"], ["type=docker", "type=image,push=true"]),
        ("[]", ["load=true"], ["type=docker"]),
        ('["type=docker"]', ["load=true"], ["type=docker"]),
        ('["type=image"]', ["load=true"], ["type=image", "type=docker"]),
        ('["type=image"]', ["load=false"], ["type=image"]),
        ('["type=oci,dest=o"]', ["load=true"], ["type=oci,dest=o", "type=docker"]),
        ('["type=docker,dest=o"]', ["load=true"], ["type=docker,dest=o", "type=docker"]),
        ('["type=local,dest=o"]', ["load=true"], ["type=local,dest=o"]),
        ("[]", ["load=true", "push=true"], ["type=docker", "type=image,push=true"]),
        ('["type=registry"]', ["load=true", "push=true"], ["type=registry", "type=docker"]),
    ],
)
def test_push_and_load_change_the_outputs_that_are_there(outputs, sets, found):
    text = f'target "default" {{ output = {outputs} }}'
    chosen = choose(defined(text), [], [f"*.{said}" for said in sets], {})
    assert sorted(chosen.targets["default"]["output"]) == sorted(found)


def test_entries_are_shown_as_objects_and_each_once():
    text = """
    target "default" {
      output = ["./out", "type=tar,dest=o.tar", { type = "oci", dest = "o.tar" }, "-", "", "type=tar,dest=o.tar"]
      cache-from = ["user/app", "type=registry,ref=user/app", "type=gha,token=abc", { type = "local", src = "c" }]
      secret = ["id=a,src=/s", { id = "b", env = "TOKEN" }, "type=env,id=c,src=VARIABLE"]
      ssh = ["default", { id = "key", paths = ["a", "b"] }]
      attest = ["type=sbom", { type = "provenance", mode = "max" }, "type=sbom,disabled=true"]
    }
    """
    found = shown(text)["target"]["default"]
    assert found["output"] == [
        {"dest": "./out", "type": "local"}, {"dest": "o.tar", "type": "tar"}, {"dest": "o.tar", "type": "oci"},
        {"dest": "-", "type": "tar"},
    ]  # fmt: skip
    assert found["cache-from"] == [
        {"ref": "user/app", "type": "registry"}, {"token": "abc", "type": "gha"}, {"src": "c", "type": "local"},
    ]  # fmt: skip
    assert found["secret"] == [{"id": "a", "src": "/s"}, {"id": "b", "env": "TOKEN"}, {"id": "c", "env": "VARIABLE"}]
    assert found["ssh"] == [{"id": "default"}, {"id": "key", "paths": ["a", "b"]}]
    assert found["attest"] == [{"disabled": True, "type": "sbom"}, {"mode": "max", "type": "provenance"}]
    assert shown(json.dumps(shown(text)), name="docker-bake.json")["target"]["default"] == found


@pytest.mark.parametrize(
    ("field", "entry", "message"),
    [
        ("output", "dest=o,name=a", "type is required for output"),
        ("output", "type=oci,dest", "invalid value dest"),
        ("cache-to", "src=a,mode=max", 'type required form> "src=a,mode=max"'),
        ("secret", "id=a,file=b", "unexpected key 'file' in 'file=b'"),
        ("secret", "id", "invalid field 'id' must be a key=value pair"),
        ("secret", "type=vault,id=a", 'unsupported secret type "vault"'),
        ("attest", "mode=max", "attestation type not specified"),
        ("attest", "type=sbom,disabled=perhaps", "invalid value disabled=perhaps"),
    ],
)
def test_entries_that_are_wrong_are_said_in_buildx_words(field, entry, message):
    with pytest.raises(Invalid) as caught:
        shown(f'target "default" {{ {field} = ["{entry}"] }}')
    assert caught.value.message == message


def test_contexts_are_shown_by_their_shortest_names():
    text = """
    target "a" { context = "./db" }
    target "b" { context = "cwd://db/../x" }
    target "c" { context = BAKE_CMD_CONTEXT }
    target "d" { context = "https://github.com/a/b.git#x:y" }
    """
    found = shown(text, targets=["a", "b", "c", "d"])["target"]
    assert [found[name]["context"] for name in "abcd"] == ["db", "x", ".", "https://github.com/a/b.git#x:y"]


def test_a_matrix_without_a_name_and_targets_by_their_new_names():
    one = shown('target "a" {\n matrix = { x = ["1"] }\n args = { v = x }\n}', targets=["a"])
    assert one["target"]["a"]["args"] == {"v": "1"} and "a" not in one["group"]
    text = """
    target "a" {
      name = "a-${x}"
      matrix = { x = ["1", "2"] }
      context = "c${x}"
    }
    target "a" {
      name = "other"
      matrix = {}
    }
    target "b" {
      context = target.a-2.context
      args = { y = %s }
    }
    """
    found = shown(text % '"${target.a-1.context}"', targets=["a", "b"])
    assert found["group"]["a"]["targets"] == ["a-1", "a-2", "other"]
    assert (found["target"]["b"]["context"], found["target"]["b"]["args"]) == ("c2", {"y": "c1"})
    for label in ("a", "b-1"):
        with pytest.raises(Invalid, match=f"no target '{label}'"):
            shown(text % f"target.{label}.context", targets=["b"])


def test_what_bake_does_not_read_from_stdin_and_the_time_of_the_environment():
    for field in ("context", "dockerfile"):
        with pytest.raises(Invalid, match=f"{field} from stdin not allowed in bake"):
            shown(f'target "a" {{ {field} = "-" }}', targets=["a"])
    text = 'target "a" { args = { b = "c" } }\ntarget "b" { args = { SOURCE_DATE_EPOCH = "2" } }'
    found = shown(text, targets=["a", "b"], environment={"SOURCE_DATE_EPOCH": "1"})["target"]
    assert found["a"]["args"] == {"SOURCE_DATE_EPOCH": "1", "b": "c"}
    assert found["b"]["args"] == {"SOURCE_DATE_EPOCH": "2"}


def test_groups_patterns_and_a_matrix():
    text = """
    group "default" { targets = ["app", "other"] }
    group "all" { targets = ["default", "third"] }
    target "app" {
      name = "app-${v.x}-${w}"
      matrix = { v = [{x="1"}, {x="2"}], w = ["p", "q"] }
      args = { X = v.x }
    }
    target "other" {}
    target "third" {}
    """
    found = shown(text)
    assert sorted(found["target"]) == ["app-1-p", "app-1-q", "app-2-p", "app-2-q", "other"]
    assert found["group"]["app"]["targets"] == ["app-1-p", "app-2-p", "app-1-q", "app-2-q"]
    assert found["group"]["default"]["targets"] == ["app", "other"]
    assert sorted(shown(text, targets=["app-1-*"])["target"]) == ["app-1-p", "app-1-q"]
    assert "third" in shown(text, targets=["all"])["target"]
    with pytest.raises(NotFound, match="failed to find target othr"):
        shown(text, targets=["othr"])
    for wrong in ('target "a" { matrix = { x = ["1", "2"] } }',
                  'target "a" {\n name = "x"\n matrix = { x = ["1","2"] }\n}',
                  'target "a.b" {}', 'target "a" {\n name = "${x}.0"\n matrix = { x = ["1"] }\n}',
                  'target "a" {\n name = "a${x}"\n matrix = { x = "1" }\n}'):  # fmt: skip
        with pytest.raises(Invalid):
            shown(wrong, targets=["a"])
    many = 'target "a" {\n name = "a${x}-${y}"\n matrix = { x = range(1000), y = range(1000) }\n}'
    with pytest.raises(Invalid, match="more than"):
        shown(many, targets=["a"])


def test_links_are_built_before_what_needs_them():
    text = """
    target "base" {
      entitlements = ["security.insecure"]
      tags = ["b"]
    }
    target "app" { contexts = { b = "target:base" } }
    """
    chosen = choose(defined(text), ["app"], [], {})
    assert list(chosen.targets) == ["base", "app"] and chosen.linked == {"base"}
    assert chosen.targets["base"]["output"] == ["type=cacheonly"]
    assert chosen.targets["app"]["entitlements"] == ["security.insecure"]
    both = choose(defined(text), ["app", "base"], [], {})
    assert not both.linked and list(both.targets) == ["base", "app"]
    with pytest.raises(Invalid, match="cannot link to itself"):
        shown('target "default" { contexts = { a = "target:default" } }')
    with pytest.raises(Invalid, match="infinite loop from b to a"):
        shown(
            'target "a" { contexts = { x = "target:b" } }\ntarget "b" { contexts = { x = "target:a" } }', targets=["a"]
        )


COMPOSE = """
x-common: &common {args: {SHARED: "1"}}
services:
  db.one:
    build: ./db
    image: img/db:${TAG:-none}
  web:
    environment: {FOO: fromenv}
    build:
      <<: *common
      context: .
      dockerfile: Dockerfile.web
      labels: [a=b]
      target: t
      additional_contexts: {b: "service:db.one"}
      secrets: [tok, {source: s2}]
      ssh: [default]
      extra_hosts: ["a:1.2.3.4"]
      shm_size: 128m
      ulimits: {nproc: 65535, nofile: {soft: 20000, hard: 40000}}
      cache_from: ["type=local,src=x"]
      x-bake: {platforms: [linux/amd64, linux/arm64], tags: [t1, t2], output: type=docker, no-cache: true}
  none: {image: busybox}
secrets:
  tok: {environment: TOK}
  s2: {file: ./s2}
"""


def test_services_of_compose_files(tmp_path):
    (tmp_path / ".env").write_text("# c\nLOCAL='dot env' # x\nTAG=1.${X:-0}\nexport Q=\"a\\nb\"\n")
    override = "services:\n  web:\n    build:\n      args: [FOO, HOMEX, BAR=baz, LOCAL, Q]\n      labels: {c: 1}\n"
    files = [File("compose.yaml", COMPOSE), File("more.yml", override),
             File("docker-bake.hcl", 'target "web" { args = { ADDED = "1" } }')]  # fmt: skip
    found = choose(read(files, {}, {}, str(tmp_path)), [], [], {}).shown()
    assert found["group"]["default"]["targets"] == ["db_one", "web"]
    assert found["target"]["db_one"] == {"context": "db", "dockerfile": "Dockerfile", "tags": ["img/db:1.0"]}
    web = found["target"]["web"]
    assert web["args"] == {
        "ADDED": "1", "BAR": "baz", "FOO": "fromenv", "LOCAL": "dot env", "Q": "a\nb", "SHARED": "1",
    }  # fmt: skip
    assert web["labels"] == {"a": "b", "c": "1"} and web["contexts"] == {"b": "target:db_one"}
    assert web["secret"] == [{"id": "tok", "env": "TOK"}, {"id": "s2", "src": "s2"}] and web["tags"] == ["t1", "t2"]
    assert web["ulimits"] == ["nproc=65535:65535", "nofile=20000:40000"] and web["extra-hosts"] == {"a": "1.2.3.4"}
    assert web["platforms"] == ["linux/amd64", "linux/arm64"] and web["no-cache"] is True
    assert web["ssh"] == [{"id": "default"}] and web["shm-size"] == "128MiB"


def test_compose_files_include_others_and_read_env_files(tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "compose.yml").write_text(
        "services:\n  foo:\n    build: {context: ./f, target: '${COMPOSE_PROJECT_NAME}'}\n"
    )
    (tmp_path / "own.env").write_text("FOO=bsdf -csdf\n")
    text = (
        "include: [more/compose.yml]\nservices:\n  bar:\n    env_file: [own.env, absent.env]\n"
        "    environment: [NODE=test]\n    build: {context: ., args: {FOO: null, NODE: null, NONE: null}}\n"
    )
    found = choose(read([File("compose.yaml", text)], {}, {}, str(tmp_path)), [], [], {}).shown()["target"]
    assert found["foo"]["target"] == "bake" and found["bar"]["args"] == {"FOO": "bsdf -csdf", "NODE": "test"}
    (tmp_path / "more" / "compose.yml").write_text("include: [compose.yml]\nservices: {}\n")
    with pytest.raises(Invalid, match="include cycle detected"):
        read([File("compose.yaml", text)], {}, {}, str(tmp_path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("services: {a: {entrypoint: x}}", 'service "a" has neither an image nor a build context specified'),
        ("services: {a: {build: {secrets: [s]}}}", 'service "a" refers to undefined build secret s'),
        ("include: [gone.yml]\nservices: {}", "open gone.yml: no such file or directory"),
    ],
)
def test_compose_files_that_do_not_fit_together(text, message, tmp_path):
    with pytest.raises(Invalid, match=message):
        read([File("compose.yaml", text)], {}, {}, str(tmp_path))


@pytest.mark.parametrize(
    "text",
    ["services: [", "a", "services: {a: {build: 3}}", "services: {a: {image: '${X:?gone}', build: .}}",
     "services: {a: {build: '${-}'}}", "services: {'a/b': {build: .}}", "services: {a: {build: {tags: {a: b}}}}",
     "services: {a: {build: {secrets: [s]}}}\nsecrets: {s: {external: true}}", "a: &a [*a]\nservices: {}",
     "services: {}\na: &a [x, x]\n" + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(24)),  # noqa: E501

     "services: {a: !!python/object/apply:os.system ['false']}"],
)  # fmt: skip
def test_compose_files_that_are_none(text):
    with pytest.raises(Invalid):
        shown(text, name="compose.yaml")


def test_what_is_printed_can_be_read_again():
    text = 'target "default" {\n dockerfile-inline = "RUN echo $${X} %%{y}"\n args = { a = "$${b}" }\n tags = ["t"]\n}'
    printed = shown(text)
    assert printed["target"]["default"]["args"] == {"a": "$${b}"}
    again = shown(json.dumps(printed), name="docker-bake.json")
    assert again == printed


def test_unknown_things_have_the_line():
    for text, message in {
        'target "a" { tag = ["x"] }': 'named "tag" is not expected here',
        'targt "a" {}': '"targt" is not expected here',
        'target "a" "b" {}': "has one name",
        'group "g" { target = [] }': "a group has targets",
        'target "a" { tags = "x" }': "a list of strings is required",
        'target "a" { args = ["x"] }': "a map is required",
        'target "a" { no-cache = "perhaps" }': "a bool is required",
    }.items():
        with pytest.raises(Invalid, match=message) as caught:
            shown(text, targets=["a"])
        assert ">>>" in str(caught.value.lines)


@pytest.mark.peer
def test_print_is_as_buildx_has_it(tmp_path):
    buildx = next((path for path in _BUILDX if os.path.exists(path)), None) or shutil.which("docker-buildx")
    if buildx is None:
        pytest.skip("needs docker-buildx")
    (tmp_path / "docker-bake.hcl").write_text(
        'variable "TAG" { default = "latest" }\ngroup "default" { targets = ["a", "b"] }\n'
        'target "a" {\n name = "a-${x}"\n matrix = { x = ["1", "2"] }\n tags = ["foo:${TAG}"]\n}\n'
        'target "b" {\n inherits = ["c"]\n args = { G = upper(TAG) }\n}\ntarget "c" { args = { H = "h" } }\n'
    )
    real = subprocess.run([buildx, "bake", "--print"], cwd=tmp_path, check=True, capture_output=True)
    assert shown((tmp_path / "docker-bake.hcl").read_text()) == json.loads(real.stdout)
