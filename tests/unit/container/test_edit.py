"""Another plan from a container's own: what is added, what takes a place, what goes."""

from __future__ import annotations

import pytest

from cais.container.edit import Edits, edited
from cais.container.options import RunOptions
from cais.container.plan import plan
from cais.errors import Invalid

ID = "0123456789abcdef" * 4


def made(**fields):
    fields.setdefault("command", ("serve",))
    return plan({"Env": ["PATH=/bin"], "Labels": {"of": "image"}}, RunOptions("image", **fields), ID)


def changed(old, removals=None, **fields):
    return edited(old, Edits(RunOptions("image", **fields), frozenset(fields), **(removals or {})), ID)


def test_nothing_said_changes_nothing():
    old = made(env=("A=1",), volumes=("v:/v",), publish=("80:80",), health_cmd="x", labels=("a=b",), hostname="h")
    assert changed(old) == old


def test_variables_and_labels():
    old = made(env=("A=1", "B=2"), labels=("mine=1",))
    new = changed(old, {"variables": ("B",), "labels": ("of",)}, env=("A=3", "C=4"), labels=("new=2",))
    assert sorted(new.env) == ["A=3", "C=4", "PATH=/bin"] and new.labels == {"mine": "1", "new": "2"}
    with pytest.raises(Invalid, match="no variable 'X'"):
        changed(old, {"variables": ("X",)})


def test_mounts():
    old = made(volumes=("one:/one", "two:/two"))
    new = changed(old, {"mounts": ("/one/",)}, volumes=("other:/two",), tmpfs=("/tmp",))
    assert [(point.kind, point.source, point.target) for point in new.mounts] == [
        ("volume", "other", "/two"), ("tmpfs", "", "/tmp"),
    ]  # fmt: skip
    with pytest.raises(Invalid, match="nothing is mounted at '/three'"):
        changed(old, {"mounts": ("/three",)})


def test_ports():
    old = made(publish=("8080:80", "8081:80", "53:53/udp"))
    new = changed(old, {"ports": ("8080:80", "53/udp")}, publish=("9090:90",))
    assert [(binding.target, binding.host_text) for binding in new.networking.ports] == [
        ("80/tcp", "8081"), ("90/tcp", "9090"),
    ]  # fmt: skip
    assert changed(old, {"ports": ("80",)}).networking.ports == old.networking.ports[2:]
    with pytest.raises(Invalid, match="'53' is not published"):
        changed(old, {"ports": ("53",)})


def test_a_check_of_health_is_changed_in_parts():
    old = made(health_cmd="x", health_retries=2)
    new = changed(old, health_retries=5)
    assert (new.health.args, new.health.retries) == (("/bin/sh", "-c", "x"), 5)
    assert changed(old, no_healthcheck=True).health.args == ()


def test_commands():
    assert changed(made(), command=("other", "x")).args == ("other", "x")
    assert changed(made(), entrypoint="/entry").args == ("/entry",)
    assert changed(made(), entrypoint="/entry", command=("x",)).args == ("/entry", "x")
    with pytest.raises(Invalid, match="no command specified"):
        changed(made(), entrypoint="")


def test_only_what_is_said_is_replaced():
    old = made(hostname="h", user="ada", workdir="/w", read_only=True, restart="always", stop_timeout_seconds=3)
    new = changed(old, user="root")
    assert new == old._replace(user="root")
    assert changed(old, read_only=False, restart="no") == old._replace(readonly=False, restart=made().restart)
