"""The strings of container create and run."""

from __future__ import annotations

import pytest

from cais.container import options
from cais.container.mount_options import (
    MountPoint,
    inherited,
    parse_mount,
    parse_tmpfs,
    parse_volume,
    parse_volumes_from,
)
from cais.container.options import RunOptions
from cais.errors import CaisError, Invalid, NotFound
from cais.runtime.ulimits import parse_ulimit


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1024", 1024),
        ("64m", 64 << 20),
        ("64M", 64 << 20),
        ("1.5g", 3 << 29),
        ("2kb", 2048),
        ("7b", 7),
        ("1GiB", 1 << 30),
    ],
)
def test_bytes(text, size):
    assert options.parse_bytes(text, "memory") == size


@pytest.mark.parametrize("text", ["", "m", "12x", "-5m", "1e9", "m5"])
def test_bad_bytes(text):
    with pytest.raises(Invalid, match="--memory"):
        options.parse_bytes(text, "memory")


def test_cpus():
    assert options.parse_cpus("1.5") == 1_500_000_000
    for text in ("x", "0", "-1", "nan"):
        with pytest.raises(Invalid):
            options.parse_cpus(text)


def test_environment(tmp_path):
    file = tmp_path / "env"
    file.write_bytes(b"\xef\xbb\xbf# comment\n\nA=file\n  B=1 2 \r\nHOSTED\nGONE\n")
    wanted = RunOptions("x", env=("A=flag", "HOSTED", "REMOVED"), env_files=(str(file),), environ={"HOSTED": "h"})
    assert options.parse_environment(wanted) == ["A=file", "B=1 2 ", "HOSTED=h", "A=flag", "HOSTED=h", "REMOVED"]


@pytest.mark.parametrize(
    ("text", "message"), [(b"A B=1\n", "contains whitespaces"), (b"=1\n", "is empty"), (b"\xff=1", "utf8")]
)
def test_bad_environment_files(tmp_path, text, message):
    (tmp_path / "env").write_bytes(text)
    with pytest.raises(Invalid, match=message):
        options.read_pairs(str(tmp_path / "env"), {})
    with pytest.raises(NotFound, match=r"open .*/none: no such file or directory"):
        options.read_pairs(str(tmp_path / "none"), {})
    with pytest.raises(Invalid, match="invalid environment variable"):
        options.parse_environment(RunOptions("x", env=("=1",)))


def test_labels(tmp_path):
    (tmp_path / "labels").write_text("a=1\nb\n")
    wanted = RunOptions("x", labels=("a=2", "c"), label_files=(str(tmp_path / "labels"),))
    assert options.parse_labels(wanted) == {"a": "2", "b": "", "c": ""}


def test_ulimits():
    assert parse_ulimit("nofile=10:20") == ("RLIMIT_NOFILE", 10, 20)
    assert parse_ulimit("core=-1") == ("RLIMIT_CORE", -1, -1)
    for text in ("nofile", "nofile=x", "what=1", "nofile=20:10"):
        with pytest.raises(Invalid, match="--ulimit"):
            parse_ulimit(text)


def test_signals():
    assert [options.parse_signal(text) for text in ("TERM", "sigterm", "15", "KILL", "SIGRTMIN+3")] == [
        15,
        15,
        15,
        9,
        37,
    ]
    for text in ("NOSUCH", "0", "99", "SIG_DFL", "RTMIN+x"):
        with pytest.raises(Invalid, match="invalid signal"):
            options.parse_signal(text)


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("/data", MountPoint("volume", "", "/data", anonymous=True)),
        ("name:/data/", MountPoint("volume", "name", "/data")),
        ("name:/c:ro,nocopy", MountPoint("volume", "name", "/c", readonly=True, copy=False)),
        ("/a/../b:/c:z", MountPoint("bind", "/b", "/c", copy=False, make_source=True)),
        ("/a:/c:ro,rslave", MountPoint("bind", "/a", "/c", True, False, propagation="rslave", make_source=True)),
        ("./x:/c", MountPoint("bind", "/here/x", "/c", copy=False, make_source=True)),
    ],
)
def test_volumes(text, point):
    assert parse_volume(text, "/here") == point._replace(origin="volume", given_mode=text.partition("/c:")[2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid empty volume spec"),
        (":/x", "invalid spec: :/x: empty section between colons"),
        ("/x:ro", "invalid volume specification: '/x:ro'"),
        ("a:b", "invalid volume specification: 'a:b': .* 'b' mount path must be absolute"),
        ("a:/", "destination can't be '/'"),
        ("a:/b:c:d", "invalid volume specification: 'a:/b:c:d'"),
        ("a:/b:ro,rw", "invalid mode: ro,rw"),
        ("a:/b:z,Z", "invalid mode: z,Z"),
        ("a:/b:what", "invalid mode: what"),
        ("/x:/y:nocopy", 'invalid mount config for type "bind": field VolumeOptions must not be specified'),
        ("x:/y:rshared", 'invalid mount config for type "volume": field BindOptions must not be specified'),
    ],
)
def test_bad_volumes(text, message):
    with pytest.raises(Invalid, match=message) as error:
        parse_volume(text)
    assert error.value.exit_code == 125


@pytest.mark.parametrize(
    ("text", "point"),
    [
        ("type=bind,src=/a,dst=/b,ro", MountPoint("bind", "/a", "/b", readonly=True, copy=False)),
        ("type=bind,source=/a,target=/b,bind-recursive=disabled", MountPoint("bind", "/a", "/b", False, False, False)),
        ("src=v,dst=/b,volume-nocopy", MountPoint("volume", "v", "/b", copy=False)),
        ("dst=/b", MountPoint("volume", "", "/b", anonymous=True)),
        (
            "type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=700",
            MountPoint("tmpfs", "", "/b", False, False, size_bytes=1 << 20, mode="700"),
        ),
        ('"type=bind","src=/a,b","dst=/c"', MountPoint("bind", "/a,b", "/c", copy=False)),
    ],
)
def test_mounts(text, point):
    assert parse_mount(text) == point


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("type=bind,src=/a,dst=/b,what=1", "unexpected key 'what'"),
        ("type=bind,src=/a", "target is required"),
        ("type=bind,src=a,dst=/b", "must be absolute"),
        ("type=bind,dst=/b", "must not be empty"),
        ("type=tmpfs,src=/a,dst=/b", "must not be specified"),
        ("type=image,dst=/b", 'invalid mount config for type "image": field Source must not be empty'),
        ("type=npipe,src=/a,dst=/b", "mount type unknown"),
        ("src=v,dst=/b,volume-subpath=/etc", "subpath must be a relative path within the volume"),
        ("src=v,dst=/b,volume-subpath=a/../../b", "subpath must be a relative path within the volume"),
        ("dst=/b,volume-subpath=a", "must not set Subpath when using anonymous volumes"),
        ("type=bind,src=/a,dst=/b,bind-recursive=readonly,ro", "requires 'bind-propagation=rprivate'"),
        ("type=bind,src=/a,dst=/b,bind-recursive=writable", "requires 'readonly'"),
        ("type=bind,src=/a,dst=/b,bind-recursive=some", 'must be "enabled"'),
        ("type=bind,src=/a,dst=/b,bind-propagation=all", "invalid propagation mode: all"),
        ("type=tmpfs,dst=/b,tmpfs-mode=9", "invalid value for tmpfs-mode: 9"),
        ("type=tmpfs,dst=/b,tmpfs-size=x", "invalid value for tmpfs-size: x"),
        ("", "EOF"),
        ("type=tmpfs,dst=/b,volume-nocopy", "cannot mix"),
        ("type=bind,src=/a,dst=/b,readonly=maybe", "invalid value"),
        ("type=bind,src,dst=/b", "key=value pair"),
    ],
)
def test_bad_mounts(text, message):
    with pytest.raises(CaisError, match=message):
        parse_mount(text)


def test_mounts_with_all_options():
    assert parse_mount(
        "src=v,dst=/b,volume-subpath=a/b,volume-opt=type=nfs,volume-opt=o=x,volume-label=k=v"
    ) == MountPoint("volume", "v", "/b", subpath="a/b", driver_options=("type=nfs", "o=x"), labels=("k=v",))
    assert parse_mount("type=image,src=tools,dst=/b,image-subpath=bin") == MountPoint(
        "image", "tools", "/b", readonly=True, copy=False, subpath="bin"
    )
    assert parse_mount("type=bind,src=./a,dst=/b", "/here").source == "/here/a"
    nested = "type=bind,src=/a,dst=/b,ro,bind-recursive=readonly,bind-propagation=rprivate"
    assert parse_mount(nested).nested == "readonly"


def test_tmpfs():
    point = parse_tmpfs("/run:size=50%,mode=1777,exec,ro")
    assert (point.flags, point.readonly) == (("size=50%", "mode=1777", "exec", "ro"), True)
    with pytest.raises(Invalid, match="invalid tmpfs option"):
        parse_tmpfs("/run:what")


def test_volumes_from():
    assert parse_volumes_from("web") == ("web", "")
    assert parse_volumes_from("web:ro") == ("web", "ro")
    for text, message in (
        ("web:what", "invalid mode: what"),
        ("web:nocopy", "invalid mode: nocopy"),
        ("web:rslave", "BindOptions"),
        (":ro", "malformed"),
    ):
        with pytest.raises(Invalid, match=message):
            parse_volumes_from(text)
    point = MountPoint("volume", "v", "/b", anonymous=True)
    assert inherited(point, "ro") == point._replace(
        origin="from", readonly=True, copy=False, anonymous=False, given_mode="ro"
    )
    assert inherited(point._replace(readonly=True), "rw").readonly
    assert inherited(point._replace(readonly=True), "").readonly
