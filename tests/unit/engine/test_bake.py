"""Bake from files to images: targets that stand on one another, overrides, outputs, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cais
from cais.engine import bake
from cais.engine.bake import BakeOptions
from cais.errors import CaisError, Denied, NotFound
from cais.spec.progress import silent

pytestmark = pytest.mark.root

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(cais.__file__).parents[1])}

FILE = """
variable "TAG" { default = "1" }
group "default" { targets = ["app", "files"] }
target "base" {
  dockerfile-inline = "FROM base AS one\\nRUN echo base > /base"
}
target "app" {
  contexts = { lower = "target:base", sub = "sub" }
  tags = ["app:${TAG}"]
  args = { X = TAG }
  dockerfile = "app.Dockerfile"
}
target "files" {
  contexts = { app = "target:app" }
  dockerfile-inline = "FROM scratch\\nCOPY --from=app /out /"
  output = ["type=local,dest=OUT"]
}
"""
APP = "FROM lower\nARG X\nCOPY --from=sub f /f\nRUN cat /base /f > /out && echo $X >> /out\n"


def baked(work, *targets: str, sets=(), allow=(), environment=None, text: str | None = None):
    if text is not None:
        work.write({"docker-bake.hcl": text})
    options = BakeOptions(
        targets=targets, sets=sets, allow=allow, environment=environment or {}, directory=str(work.context),
        stdin=io.BytesIO(b""),
    )  # fmt: skip
    plan = bake.baked(options, bake.chosen(options))
    return work.in_thread(lambda: work.engine.builder.bake(plan, lambda name: silent))


def test_targets_stand_on_targets(based):
    out = based.directory / "out"
    based.write({"app.Dockerfile": APP, "sub/f": "sub\n"})
    results = baked(based, text=FILE.replace("OUT", str(out)))
    assert list(results) == ["base", "app", "files"]
    assert (out / "out").read_text() == "base\nsub\n1\n"
    assert based.engine.images.inspect("app:1")["Id"] == results["app"].image_id
    # Of the one that only others need no image is kept.
    assert [image.repository for image in based.engine.images.list(all=True)].count("<none>") == 0
    again = baked(based, "app", environment={"TAG": "2"})
    assert [step.state for step in again["base"].steps] == ["hit", "hit"]
    assert again["app"].names == ("app:2",)
    assert not based.leftovers()


def test_sets_and_several_outputs(based):
    based.write({"Dockerfile": "FROM base\nARG A=0\nRUN echo $A > /a\n"})
    target = based.directory / "a.tar"
    results = baked(
        based, "one", text='target "one" { tags = ["x"] }',
        sets=["*.args.A=7", f"one.output=type=oci,dest={target}", "one.labels.l=v"],
    )  # fmt: skip
    assert target.exists() and results["one"].image_id


def test_a_target_that_fails_is_named(based):
    based.write({"Dockerfile": "FROM base\nRUN false\n"})
    with pytest.raises(CaisError, match=r"^target one: ") as caught:
        baked(based, "one", text='target "one" {}')
    assert ">>> RUN false" in str(caught.value.lines)
    with pytest.raises(NotFound, match="couldn't find a bake definition"):
        bake.chosen(BakeOptions(directory="/nonexistent"))
    with pytest.raises(NotFound, match=r"open nope\.hcl"):
        bake.chosen(BakeOptions(files=["nope.hcl"]))


def test_privileges_are_asked_for(based):
    based.write({"Dockerfile": "FROM base\nRUN true\n"})
    text = 'target "one" { network = "host" }'
    with pytest.raises(Denied, match=r"target one asks for network\.host"):
        baked(based, "one", text=text)
    assert baked(based, "one", allow=["network.host"])["one"].image_id


def test_several_platforms_of_a_link(based):
    text = """
    target "low" {
      dockerfile-inline = "FROM scratch\\nCOPY f /f"
      platforms = ["linux/amd64", "linux/arm64"]
    }
    target "high" {
      contexts = { low = "target:low" }
      dockerfile-inline = "FROM low\\nCOPY f /g"
      platforms = ["linux/amd64", "linux/arm64"]
      tags = ["high"]
    }
    """
    based.write({"f": "f"})
    results = baked(based, "high", text=text)
    assert results["high"].target.media_type.endswith("index.v1+json")
    assert results["high"].image_id == results["high"].digest


def test_targets_are_built_side_by_side(based):
    """Each waits for what the other one writes."""
    text = "".join(
        f"""
    target "{own}" {{
      dockerfile-inline = <<EOT
FROM base
RUN --mount=type=cache,id=meet,target=/meet touch /meet/{own}; n=0; \\
    until [ -e /meet/{other} ]; do n=$((n+1)); [ $n -lt 2000 ] || exit 1; sleep 0.01; done
EOT
    }}
    """
        for own, other in (("one", "two"), ("two", "one"))
    )
    assert set(baked(based, "one", "two", text=text)) == {"one", "two"}


def test_what_targets_have_in_common_is_made_once(based):
    text = """
    target "default" {
      name = "t${n}"
      matrix = { n = [1, 2, 3, 4] }
      dockerfile-inline = "FROM base AS low\\nRUN head -c 16 /dev/urandom > /r\\nFROM low\\nRUN echo ${n} > /n"
      output = ["type=local,dest=OUT/${n}"]
    }
    """
    results = baked(based, text=text.replace("OUT", str(based.directory / "out")))
    made = {(based.directory / "out" / str(n) / "r").read_bytes() for n in range(1, 5)}
    assert len(made) == 1
    states = [step.state for result in results.values() for step in result.steps if "urandom" in step.text]
    assert sorted(states) == ["hit", "hit", "hit", "miss"]


def test_one_failure_ends_all(based):
    text = """
    target "long" { dockerfile-inline = "FROM base\\nRUN sleep 1000" }
    target "bad" { dockerfile-inline = "FROM base\\nRUN exit 7" }
    target "after" {
      contexts = { x = "target:long" }
      dockerfile-inline = "FROM x"
    }
    """
    with pytest.raises(CaisError, match=r"^target bad: .*exit code: 7"):
        baked(based, "long", "bad", "after", text=text)
    assert not based.leftovers()
    assert {row.status for row in based.engine.builder.list()} <= {"failed", "cancelled"}


def test_the_command(based, tmp_path):
    """One display for all targets, one file of metadata, and Docker's exit codes."""
    based.write({"docker-bake.hcl": 'target "a" { dockerfile-inline = "FROM base\\nRUN echo x" }\n'
                 'target "b" {\n contexts = { a = "target:a" }\n dockerfile-inline = "FROM a"\n tags = ["b"]\n}\n'
                 'target "bad" { dockerfile-inline = "FROM base\\nRUN exit 3" }\n'})  # fmt: skip

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cais", "--root", based.stores.root, "buildx", "bake", "--progress", "plain"]
        return subprocess.run([*command, *words], cwd=based.context, env=ENVIRONMENT, capture_output=True, text=True)

    done = run("b", "--metadata-file", "m.json")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    starts = [line for line in lines if "] " in line and "[" in line]
    assert any("[a 2/2] RUN echo x" in line for line in starts) and any("[b" in line for line in starts)
    assert len({line.split(" ")[0] for line in starts}) == 3  # each step has a number of its own
    assert sorted(json.loads((based.context / "m.json").read_text())) == ["a", "b"]
    assert lines[-1].endswith(" as b:latest")
    failed = run("bad", "b")
    assert failed.returncode == 1 and ">>> RUN exit 3" in failed.stderr
    assert "ERROR: target bad: failed to solve: process " in failed.stderr and "Traceback" not in failed.stderr
    assert run("none").stderr.startswith("ERROR: failed to find target none")
    assert json.loads(run("--print", "b").stdout)["target"]["b"]["tags"] == ["b"]
    assert run("--list", "targets").stdout == "TARGET\tDESCRIPTION\na\t\nb\t\nbad\t\n"
    assert "mutually exclusive" in run("--print", "--list", "targets").stderr
    checked = run("--check", "a", "b")
    assert checked.returncode == 0 and checked.stdout.startswith("a\n\nCheck complete, no warnings found.\n\nb\n\n")


def test_lists_calls_and_metadata_are_as_those_of_buildx(based):
    based.write({
        "docker-bake.hcl": 'variable "foo" {\n default = "bar"\n description = "This is foo"\n}\n'
        'variable "abc" { default = null }\nvariable "many" {\n type = list(number)\n default = [1]\n}\n'
        'group "all" { targets = ["web", "default"] }\ntarget "_own" {}\n'
        'target "default" { dockerfile-inline = "FROM scratch\\nCOPy notes /" }\n'
        'target "web" {\n description = "A web"\n dockerfile-inline = "FROM scratch\\nCOPY notes$X /"\n}\n',
        "notes": "x",
    })  # fmt: skip

    def run(*words: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cais", "--root", based.stores.root, "buildx", "bake"]
        environment = {**ENVIRONMENT, **more}
        return subprocess.run([*command, *words], cwd=based.context, env=environment, capture_output=True, text=True)

    assert run("--list=targets").stdout == ("TARGET\tDESCRIPTION\nall\tdefault, web\ndefault\t\nweb\tA web\n")
    assert run("--list=variables").stdout == (
        "VARIABLE\tTYPE\t\tVALUE\tDESCRIPTION\nabc\t\t\t\t<null>\t\nfoo\t\t\t\tbar\tThis is foo\n"
        "many\t\tlist(number)\t[1]\t\n"
    )
    assert json.loads(run("--list=type=targets,format=json").stdout)[0] == {
        "name": "all", "description": "default, web", "group": True
    }  # fmt: skip
    checked = run("all", "--call", "check,format=json", "--metadata-file", "m.json")
    document = json.loads(checked.stdout)
    assert checked.returncode == 1 and document["group"]["all"] == {"targets": ["web", "default"]}
    found = {name: target["check"]["warnings"][0]["ruleName"] for name, target in document["target"].items()}
    assert found == {"default": "ConsistentInstructionCasing", "web": "UndefinedVar"}
    assert document["target"]["web"]["build"]["call"] == "check"
    metadata = json.loads((based.context / "m.json").read_text())
    assert len(metadata["web"]["result.json"]["warnings"]) == 1 and "buildx.build.ref" not in metadata["web"]
    run("--metadata-file", "m.json", BUILDX_METADATA_WARNINGS="1", BUILDX_METADATA_PROVENANCE="max")
    metadata = json.loads((based.context / "m.json").read_text())
    assert metadata["default"]["buildx.build.provenance"]["buildConfig"]
    (warning,) = metadata["buildx.build.warnings"]
    short = base64.b64decode(warning["short"]).decode()
    assert short.startswith("ConsistentInstructionCasing: Command 'COPy' should") and short.endswith("(line 2)")
    run("--metadata-file", "m.json", BUILDX_METADATA_PROVENANCE="disabled")
    assert list(json.loads((based.context / "m.json").read_text())) == ["default"]
    assert "buildx.build.provenance" not in json.loads((based.context / "m.json").read_text())["default"]
