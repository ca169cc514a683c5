"""Devices by the Container Device Interface: which are meant, and what they need."""

from __future__ import annotations

import json

import pytest

from cais.errors import CaisError, Denied, Invalid, NotFound, Unsupported
from cais.runtime import cdi

SPEC = {
    "cdiVersion": "0.6.0", "kind": "vendor1.com/device", "containerEdits": {"env": ["ALL=1"]},
    "devices": [
        {"name": "foo", "containerEdits": {
            "env": ["FOO=1"], "deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null"}]}},
        {"name": "bar", "annotations": {"org.mobyproject.buildkit.device.class": "c1"},
         "containerEdits": {"mounts": [{"hostPath": "/a", "containerPath": "/b", "options": ["ro", "rbind"]}]}},
        {"name": "baz", "annotations": {"org.mobyproject.buildkit.device.class": "c1",
                                        "org.mobyproject.buildkit.device.autoallow": "true"}},
        {"name": "hook", "containerEdits": {"hooks": [{"hookName": "createRuntime", "path": "/x"}]}},
        {"name": "gone", "containerEdits": {"deviceNodes": [{"path": "/dev/not-there"}]}},
        {"name": "file", "containerEdits": {"deviceNodes": [{"path": "/etc/passwd"}]}},
    ],
}  # fmt: skip


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(SPEC))
    (tmp_path / "b.json").write_text("{ nonsense")
    (tmp_path / "c.json").write_text(json.dumps({"kind": 7, "devices": "x"}))
    (tmp_path / "d.yaml").write_text("kind: other.com/device")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("vendor1.com/device=foo", ["foo"]),
        ("vendor1.com/device", ["bar"]),
        ("vendor1.com/device=*", ["bar", "baz", "file", "foo", "gone", "hook"]),
        ("vendor1.com/device=c1", ["bar", "baz"]),
        ("vendor1.com/device=other", []),
        ("other.com/device", []),
    ],
)
def test_which_are_meant(directory, text, names):
    found = cdi.find(text, cdi.registered((directory, "/nowhere")))
    assert [device.name for device in found] == [f"vendor1.com/device={name}" for name in names]


def test_what_they_need(directory):
    wanted = ("vendor1.com/device=foo", "name=vendor1.com/device=foo,required=true", "vendor1.com/device=c1")
    given = cdi.edits(wanted, ("device",), (directory,))
    (node,) = given.devices
    assert (node["path"], node["type"], node["major"], node["minor"]) == ("/dev/x", "c", 1, 3)
    assert [(mount["source"], mount["destination"]) for mount in given.mounts] == [("/a", "/b")]
    assert given.mounts[0]["options"] == ["rbind", "ro", "rprivate"]
    assert given.env == ("ALL=1", "FOO=1", "ALL=1", "ALL=1")


def test_the_required_and_the_optional(directory):
    assert cdi.edits(("a.b/c=d",), (), (directory,)).notes == ('WARNING: Optional device "a.b/c=d" is not registered',)
    with pytest.raises(NotFound, match=r'required device "a\.b/c=d" is not registered'):
        cdi.edits(("a.b/c=d,required",), (), (directory,))


def test_what_is_allowed(directory):
    for allowed in (("device",), ("device=vendor1.com/device=foo",), ("device=vendor1.com/device",)):
        assert cdi.edits(("vendor1.com/device=foo",), allowed, (directory,)).devices
    for allowed in ((), ("network.host",), ("device=vendor1.com/device=bar",)):
        with pytest.raises(Denied, match="is requested by the build but not allowed"):
            cdi.edits(("vendor1.com/device=foo",), allowed, (directory,))
    assert cdi.edits(("vendor1.com/device=baz",), (), (directory,)).env == ("ALL=1",)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [("hook", Unsupported, "hooks"), ("gone", NotFound, "/dev/not-there"), ("file", Invalid, "no device")],
)
def test_what_cannot_be_had(directory, name, kind, words):
    with pytest.raises(kind, match=words):
        cdi.edits((f"vendor1.com/device={name}",), ("device",), (directory,))


@pytest.mark.parametrize(
    "text",
    ["x", "a/b/c=d", "/x=y", "a.com/=x", "", "a/b=c,requird", "a/b=c,required=perhaps", "a/b=c,name=x", "../x=y"],
)
def test_bad_names(text):
    with pytest.raises(CaisError):
        cdi.parse(text)
