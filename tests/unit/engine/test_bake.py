"""Bake from files to images: targets that stand on one another, overrides, outputs, and what is refused."""

from __future__ import annotations

import io

import pytest

from cais.engine import bake
from cais.engine.bake import BakeOptions
from cais.errors import CaisError, Denied, NotFound
from cais.spec.progress import silent

pytestmark = pytest.mark.root

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
