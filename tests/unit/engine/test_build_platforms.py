"""Builds of several platforms, without a RUN of another architecture: what is made, shared, named and shown."""

from __future__ import annotations

import json
import os
import tarfile

import pytest

import cais
from cais.engine import Settings
from cais.errors import CaisError, Invalid, NotFound, Unsupported
from cais.spec.media_types import OCI_INDEX
from cais.spec.platform import Platform

pytestmark = pytest.mark.root
BOTH = "linux/amd64,linux/arm64"
ARM64 = Platform("linux", "arm64")
TEXT = """FROM --platform=$BUILDPLATFORM scratch AS shared
COPY file /shared
FROM scratch
ARG TARGETPLATFORM
ARG TARGETARCH
ARG BUILDPLATFORM
COPY --from=shared /shared /
COPY file-$TARGETARCH /arch
LABEL target=$TARGETPLATFORM build=$BUILDPLATFORM
"""


@pytest.fixture
def two(work):
    work.write({"file": "shared", "file-amd64": "a", "file-arm64": "b", "Dockerfile": TEXT})
    return work


def started(work):
    return [event["name"] for event in work.events if event["event"] == "start"]


class TestIndex:
    def test_what_it_is(self, two):
        result = two.build(platform=BOTH, tags=["app:1"])
        assert result.target.media_type == OCI_INDEX and result.image_id == result.digest == result.target.digest
        index = json.loads(two.stores.content.read(result.digest))
        assert [item["platform"] for item in index["manifests"]] == [
            {"architecture": "amd64", "os": "linux"},
            {"architecture": "arm64", "os": "linux"},
        ]
        for platform in ("linux/amd64", "linux/arm64"):
            image = two.engine.images.inspect("app:1", Platform.parse(platform))
            assert image["Architecture"] == platform.partition("/")[2]
            assert image["Config"]["Labels"] == {"target": platform, "build": str(two.stores.platform)}

    def test_one_name_one_row(self, two):
        result = two.build(platform=BOTH, tags=["app:1"])
        (row,) = two.engine.images.list()
        assert (row.repository, row.tag, row.digest) == ("app", "1", result.digest)
        assert two.engine.images.get(result.digest).digest == result.digest, "what --iidfile has is a name of it"

    def test_the_same_again_is_cached_and_the_same(self, two):
        first = two.build(platform=BOTH)
        again = two.build(platform=BOTH)
        assert two.ran == [] and again.digest == first.digest

    def test_the_order_asked_for_is_that_of_the_index(self, two):
        result = two.build(platform="linux/arm64, linux/amd64,linux/arm64")
        index = json.loads(two.stores.content.read(result.digest))
        assert [item["platform"]["architecture"] for item in index["manifests"]] == ["arm64", "amd64"]

    def test_one_twice_is_one(self, two):
        assert two.build(platform="linux/amd64,local").target.media_type != OCI_INDEX

    def test_another_one_alone(self, two):
        result = two.build(platform="linux/arm64", tags=["app"])
        assert two.engine.images.get("app").config.platform == ARM64
        assert result.target.platform == ARM64
        assert "linux/" not in two.ran[0]

    def test_an_impossible_one(self, two):
        with pytest.raises(Invalid, match="platform"):
            two.build(platform="linux/amd64,a/b/c/d")

    def test_saved_loaded_and_removed(self, two, tmp_path):
        result = two.build(platform=BOTH, tags=["app:1"])
        with open(tmp_path / "app.tar", "wb") as file:
            two.engine.images.save(["app:1"], file)
        with cais.Engine(Settings(str(tmp_path / "other"))) as other:
            other.images.load(str(tmp_path / "app.tar"))
            assert other.images.get("app:1").digest == result.digest
            assert other.images.get("app:1", ARM64).config.platform == ARM64
            assert other.system.check() == []
            other.images.remove("app:1")
            assert other.images.list() == []
        assert two.engine.system.check() == []

    def test_one_platform_of_it_saved(self, two, tmp_path):
        two.build(platform=BOTH, tags=["app:1"])
        with open(tmp_path / "arm.tar", "wb") as file:
            two.engine.images.save(["app:1"], file, ARM64)
        with cais.Engine(Settings(str(tmp_path / "other"))) as other:
            other.images.load(str(tmp_path / "arm.tar"))
            assert other.images.get("app:1").config.platform == ARM64


class TestShared:
    def test_what_is_the_same_is_done_once(self, two):
        two.build(platform=BOTH)
        assert sorted(started(two)) == [
            "[linux/amd64 shared 1/1] COPY file /shared",
            "[linux/amd64 stage-1 1/2] COPY --from=shared /shared /",
            "[linux/amd64 stage-1 2/2] COPY file-amd64 /arch",
            "[linux/arm64 stage-1 2/2] COPY file-arm64 /arch",
        ]
        assert len(two.ran) == 4

    def test_only_what_changed_is_done_again(self, two):
        two.build(platform=BOTH)
        two.write({"file-arm64": "new"})
        two.build(platform=BOTH)
        assert two.ran == ["COPY file-arm64 /arch"]

    def test_one_of_them_alone_uses_what_both_made(self, two):
        two.build(platform=BOTH)
        two.build(platform="linux/arm64")
        assert two.ran == []

    def test_warnings_come_once(self, two):
        two.build("FROM scratch\nCOPY file /\nMAINTAINER me\n", platform=BOTH)
        assert len([event for event in two.events if event["event"] == "warning"]) == 1

    def test_the_plan_shows_all(self, two):
        two.build(platform=BOTH)
        assert sorted(step.name for step in two.plan(platform=BOTH)) == sorted(started(two))

    def test_an_error_of_one_of_them(self, two):
        with pytest.raises(CaisError, match="file-s390x") as raised:
            two.build(platform=BOTH + ",linux/s390x")
        assert "COPY file-$TARGETARCH" in str(raised.value.lines)


class TestBases:
    def test_each_platform_gets_its_own(self, two):
        two.build(platform=BOTH, tags=["app"])
        two.build("FROM app\nARG TARGETARCH\nCOPY file-$TARGETARCH /more\n", platform=BOTH, tags=["child"])
        for platform in BOTH.split(","):
            image = two.engine.images.inspect("child", Platform.parse(platform))
            assert image["Config"]["Labels"]["target"] == platform
            assert len(image["RootFS"]["Layers"]) == 3

    def test_one_that_is_not_in_it(self, two):
        two.build(platform=BOTH, tags=["app"])
        with pytest.raises(NotFound, match="app:latest: no match for platform in manifest") as raised:
            two.build("FROM app\n", platform="linux/s390x")
        assert "linux/amd64, linux/arm64" in raised.value.hint and "FROM app" in str(raised.value.lines)

    def test_one_that_is_no_index_is_taken_as_it_is(self, two):
        two.build(platform="linux/arm64", tags=["arm"])
        two.build("FROM arm\nCOPY file /more\n", tags=["child"], platform="linux/amd64")
        (warning,) = [event for event in two.events if event["event"] == "warning"]
        assert 'was pulled with platform "linux/arm64", expected "linux/amd64"' in warning["message"]
        assert two.engine.images.get("child").config.platform == Platform(), "what was asked for"
        two.build(tags=["child"])
        assert two.engine.images.get("child").config.platform == ARM64, "nothing was asked for"

    def test_copied_from_one_that_has_both(self, two):
        two.build(platform=BOTH, tags=["app"])
        assert two.files("FROM scratch\nCOPY --from=app /arch /\n", platform="linux/arm64") == {"arch": "b"}


class TestForeignRuns:
    """An architecture that no emulator here is registered for."""

    def test_it_is_said_before_anything_runs(self, two):
        with pytest.raises(Unsupported, match="cannot run programs of sparc64") as raised:
            two.build('FROM scratch\nCOPY file /\nRUN ["/x"]\n', platform="linux/sparc64")
        assert two.ran == [] and "RUN" in str(raised.value.lines) and "BUILDPLATFORM" in raised.value.hint

    def test_a_stage_of_the_builders_platform_needs_none(self, based):
        based.build(
            "FROM --platform=$BUILDPLATFORM base AS make\nARG TARGETARCH\nRUN echo for $TARGETARCH > /out\n"
            "FROM scratch\nCOPY --from=make /out /\n",
            platform="linux/sparc64,linux/amd64", tags=["app"],
        )  # fmt: skip
        assert "[linux/amd64->sparc64 make 2/2] RUN echo for sparc64 > /out" in started(based)
        files = based.files(platform="linux/sparc64")
        assert files == {"out": "for sparc64\n"}


class TestFiles:
    def test_a_directory_each(self, two, tmp_path):
        two.write({"file-arm": "c"})
        result = two.build(platform=BOTH + ",linux/arm/v7", outputs=[f"type=local,dest={tmp_path}/out"])
        assert sorted(os.listdir(tmp_path / "out")) == ["linux_amd64", "linux_arm64", "linux_arm_v7"]
        assert (tmp_path / "out/linux_arm_v7/arch").read_text() == "c"
        assert (result.image_id, result.digest, result.target) == ("", "", None)

    def test_one_platform_has_none(self, two, tmp_path):
        two.build(platform="linux/arm64", outputs=[f"type=local,dest={tmp_path}/out,platform-split=true"])
        assert sorted(os.listdir(tmp_path / "out")) == ["arch", "shared"]

    def test_a_tar_of_all(self, two, tmp_path):
        two.build(platform=BOTH, outputs=[f"type=tar,dest={tmp_path}/out.tar"], epoch=5)
        with tarfile.open(tmp_path / "out.tar") as archive:
            members = {member.name: member for member in archive}
            assert list(members) == [
                "linux_amd64", "linux_amd64/arch", "linux_amd64/shared",
                "linux_arm64", "linux_arm64/arch", "linux_arm64/shared",
            ]  # fmt: skip
            assert members["linux_arm64"].isdir() and archive.extractfile("linux_arm64/arch").read() == b"b"
            assert {member.mtime for member in members.values()} == {5}

    def test_hard_links_in_a_tar_of_all(self, based, tmp_path):
        based.build(
            "FROM --platform=$BUILDPLATFORM base AS make\nRUN mkdir /o && echo x > /o/a && ln /o/a /o/b\n"
            "FROM scratch\nCOPY --from=make /o /o\n",
            platform=BOTH, outputs=[f"type=tar,dest={tmp_path}/out.tar"],
        )  # fmt: skip
        with tarfile.open(tmp_path / "out.tar") as archive:
            assert archive.extractfile("linux_arm64/o/b").read() == b"x\n"

    @pytest.mark.parametrize("kind", ["local", "tar"])
    def test_all_in_one_place(self, two, tmp_path, kind):
        output = f"type={kind},dest={tmp_path}/out,platform-split=false"
        with pytest.raises(CaisError, match="cannot overwrite arch from linux/amd64 with linux/arm64 when split"):
            two.build(platform=BOTH, outputs=[output])
        assert not (tmp_path / "out").exists()
        two.build("FROM scratch\nARG TARGETARCH\nCOPY file-$TARGETARCH /d/\n", platform=BOTH, outputs=[output])
        if kind == "local":
            assert sorted(os.listdir(tmp_path / "out" / "d")) == ["file-amd64", "file-arm64"]

    def test_times_with_an_epoch(self, two, tmp_path):
        os.utime(two.context / "file", (1000, 1000))
        two.build(outputs=[str(tmp_path / "out")], epoch=1_000_000_000)
        assert {path.stat().st_mtime for path in (tmp_path / "out").iterdir()} == {1_000_000_000}
