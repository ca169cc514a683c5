"""RUN --mount through the engine: what hits, what misses and why, and what stays of it."""

from __future__ import annotations

import io
import os

import pytest

import cais
from cais.errors import CaisError, Invalid, NotFound

pytestmark = pytest.mark.root


def test_a_bind_of_the_context_is_known_by_its_content(based):
    based.write({"d/a": "1", "d/b": "2", "other": "x"})
    text = "FROM base\nRUN --mount=source=d,target=/m cat /m/a > /out\n"
    based.build(text)
    based.write({"other": "y"})
    based.build(text)
    assert based.ran == []
    based.write({"d/b": "3"})
    based.build(text)
    assert len(based.ran) == 2
    assert any("the files mounted at /m" in reason for reason in based.reasons.values()), based.reasons
    assert based.leftovers() == []


def test_a_bind_of_a_stage_hits_where_its_files_are_the_same(based):
    def text(number: int, content: str) -> str:
        return (
            f"FROM base AS made\nRUN echo {number} > /number && mkdir /o && echo {content} > /o/f\n"
            "FROM base\nRUN --mount=from=made,source=/o,target=/m cp /m/f /out\n"
        )

    based.build(text(1, "one"))
    based.build(text(2, "one"))
    assert [name[:9] for name in based.ran] == ["RUN echo "]
    assert based.files(text(3, "two"))["out"] == "two\n"


def test_a_changed_mount_is_the_reason(based):
    based.build("FROM base\nRUN --mount=type=cache,target=/c,sharing=locked true\n")
    based.build("FROM base\nRUN --mount=type=cache,target=/c,sharing=private true\n")
    (reason,) = based.reasons.values()
    assert "the mount cache /c sharing" in reason and "locked" in reason and "private" in reason


def test_secrets_are_no_part_of_the_key(based):
    text = "FROM base\nRUN --mount=type=secret,id=s true\n"
    based.build(text, secrets=["id=s,env=S"], environment={"S": "one-value"})
    based.build(text, secrets=["id=s,env=S"], environment={"S": "another-value"})
    assert based.ran == []
    based.build(text)
    assert based.ran == []


def test_a_cache_survives_and_is_a_volume(based):
    text = "FROM base\nRUN --mount=type=cache,target=/c echo x >> /c/f && cp /c/f /out\n"
    based.build(text)
    assert based.files(text, no_cache=True)["out"] == "x\nx\n"
    (volume,) = based.engine.volumes.list({"kind": ["cache"]})
    described = based.engine.volumes.inspect(volume.name)
    assert (described["Kind"], described["CacheID"], described["InUse"]) == ("cache", "/c", False)
    assert based.engine.volumes.list({"dangling": ["true"]}) == []
    assert based.engine.volumes.prune(all=True).removed == []
    assert based.engine.volumes.prune(filters={"kind": ["cache"]}).removed == [volume.name]


def test_a_cache_goes_to_another_machine(based, tmp_path):
    based.build("FROM base\nRUN --mount=type=cache,target=/c,uid=7,mode=0751 echo x > /c/f && chmod 600 /c/f\n")
    (volume,) = based.engine.volumes.list()
    file = io.BytesIO()
    based.engine.volumes.export(volume.name, file)
    based.engine.volumes.remove(volume.name)
    file.seek(0)
    based.engine.volumes.import_(volume.name, file)
    step = "stat -c '%a %u' /c /c/f > /out && cat /c/f >> /out"
    text = f"FROM base\nRUN --mount=type=cache,target=/c,uid=7,mode=0751 {step}\n"
    assert based.files(text)["out"] == "751 7\n600 0\nx\n"
    assert based.engine.volumes.inspect(volume.name)["CacheID"] == "/c"


def test_a_broken_archive_changes_nothing(based):
    volume = based.engine.volumes.create("data")
    with open(os.path.join(volume.path, "kept"), "w"):
        pass
    for bad in (b"no archive" * 100, b"", _hostile("../out"), _hostile("/etc/../../x")):
        with pytest.raises(CaisError):
            based.engine.volumes.import_("data", io.BytesIO(bad))
    assert os.listdir(based.engine.volumes.get("data").path) == ["kept"]
    assert len(os.listdir(os.path.join(based.stores.root, "volumes"))) == 1


def _hostile(name: str) -> bytes:
    import tarfile

    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("fine"))
        archive.addfile(tarfile.TarInfo(name))
    return file.getvalue()


def test_with_the_copies_driver(tmp_path, busybox_tar, based):
    with cais.Engine(cais.Settings(str(tmp_path / "copies"), driver="copies")) as engine:
        with open(busybox_tar, "rb") as file:
            engine.images.import_(file, "base")
        own = type(based)(tmp_path, engine)
        own.write({"d/a": "1"})
        text = (
            "FROM base AS one\nRUN mkdir /o && echo made > /o/f\nFROM base\n"
            "RUN --mount=from=one,source=/o,target=/m,rw --mount=source=d,target=/d,rw --mount=type=cache,target=/x/c "
            "echo more >> /m/f && rm /d/a && touch /x/c/f && cp /m/f /out\n"
            "RUN --mount=from=one,source=/o,target=/m cat /m/f >> /out && ls / | grep -c '^[mdx]$' >> /out\n"
        )
        assert own.files(text)["out"] == "made\nmore\nmade\n1\n"
        assert own.leftovers() == []


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"secrets": ["foo"]}, Invalid, "invalid field 'foo' must be a key=value pair"),
        ({"secrets": ["id=x,tpe=y"]}, Invalid, "unexpected key 'tpe' in 'tpe=y'"),
        ({"secrets": ["id=x,type=y"]}, Invalid, 'unsupported secret type "y"'),
        ({"secrets": ["src=x"]}, Invalid, "secret missing ID"),
        ({"secrets": ["id=x,src=/none"]}, NotFound, "failed to stat /none: stat /none: no such file or directory"),
        ({"secrets": ["id=none-such"]}, NotFound, "failed to stat none-such"),
        ({"ssh": ["default"]}, Invalid, "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set"),
        ({"ssh": ["a=/none"]}, NotFound, "stat /none: no such file or directory"),
        ({"ssh": ["a=/etc/passwd", "a=/etc/passwd"]}, Invalid, "invalid duplicate ID a"),
    ],
)
def test_options_that_make_no_sense(based, options, kind, message):
    with pytest.raises(kind) as caught:
        based.build("FROM base\n", **options)
    assert caught.value.message.startswith(message)


def test_a_secret_has_a_limit(based, tmp_path):
    (tmp_path / "big").write_bytes(b"x" * (500 << 10))
    based.build(
        "FROM base\nRUN --mount=type=secret,id=x wc -c < /run/secrets/x\n", secrets=[f"id=x,src={tmp_path}/big"]
    )
    assert based.output().strip() == b"512000"
    (tmp_path / "big").write_bytes(b"x" * ((500 << 10) + 1))
    with pytest.raises(Invalid, match="secret x too big"):
        based.build("FROM base\n", secrets=[f"id=x,src={tmp_path}/big"])
