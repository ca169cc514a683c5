"""Runtime specs are Docker's defaults."""

from __future__ import annotations

import pytest

from cais.errors import Denied, Invalid
from cais.runtime import spec
from cais.runtime.spec import Host, Process

ROOT = Host(cgroup_mode="unified", cgroups_writable=True, controllers=frozenset(("memory",)))
USER = Host(user_namespace=True, id_count=65537)


def kinds(document):
    return {item["type"] for item in document["linux"]["namespaces"]}


def mount(document, target):
    return next((item for item in document["mounts"] if item["destination"] == target), None)


def test_a_container_of_its_own_network():
    document = spec.build(Process(("true",)), ROOT)
    assert kinds(document) == {"pid", "ipc", "uts", "mount", "network", "cgroup"}
    assert document["linux"]["sysctl"]["net.ipv4.ip_unprivileged_port_start"] == "0"
    assert document["process"]["capabilities"]["effective"] == list(spec.DEFAULT_CAPABILITIES)
    assert document["process"]["capabilities"]["inheritable"] == []
    assert document["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]
    assert "/proc/kcore" in document["linux"]["maskedPaths"]
    assert "/proc/sys" in document["linux"]["readonlyPaths"]
    assert "size=67108864" in mount(document, "/dev/shm")["options"]


def test_the_hosts_network():
    document = spec.build(Process(("true",)), ROOT, network="host")
    assert "network" not in kinds(document)
    assert "sysctl" not in document["linux"]


def test_in_a_user_namespace_nothing_is_asked_that_it_cannot_do():
    document = spec.build(Process(("true",), groups=(5, 70000)), USER, network="host", cgroups_path="/x")
    assert "cgroup" not in kinds(document)
    assert "resources" not in document["linux"] and "cgroupsPath" not in document["linux"]
    assert mount(document, "/sys")["type"] == "bind"
    assert document["process"]["user"]["additionalGids"] == [5]
    assert "gid=5" not in mount(spec.build(Process(("true",)), Host(id_count=1)), "/dev/pts")["options"]


def test_control_groups_are_its_own_also_where_sys_is_the_hosts():
    host = USER._replace(cgroup_mode="unified", cgroups_writable=True)
    mounts = spec.build(Process(("true",)), host, network="host")["mounts"]
    targets = [item["destination"] for item in mounts]
    assert targets.index("/sys/fs/cgroup") > targets.index("/sys")
    assert "ro" in mounts[targets.index("/sys/fs/cgroup")]["options"]


def test_nobody_makes_nodes_where_no_control_group_says_which_may_be_used():
    def bounding(host, **more):
        return spec.build(Process(("true",)), host, **more)["process"]["capabilities"]["bounding"]

    bare = ROOT._replace(cgroups_writable=False)
    assert "CAP_MKNOD" in bounding(ROOT) and "CAP_MKNOD" not in bounding(bare)
    assert "CAP_MKNOD" in bounding(bare, privileged=True)
    assert "CAP_MKNOD" in bounding(USER)  # the kernel refuses by itself


def test_another_user_than_root_starts_without_capabilities():
    capabilities = spec.build(Process(("true",), user_id=1000), ROOT)["process"]["capabilities"]
    assert capabilities["effective"] == capabilities["permitted"] == []
    assert "CAP_CHOWN" in capabilities["bounding"]


def test_capabilities_that_this_process_lacks_are_left_out():
    host = ROOT._replace(capabilities=frozenset(("CAP_CHOWN",)))
    assert spec.build(Process(("true",)), host)["process"]["capabilities"]["bounding"] == ["CAP_CHOWN"]


@pytest.mark.parametrize(
    ("add", "drop", "has", "has_not"),
    [
        ((), (), "CAP_CHOWN", "CAP_SYS_ADMIN"),
        (("sys_admin",), (), "CAP_SYS_ADMIN", "CAP_NET_ADMIN"),
        (("CAP_SYS_ADMIN",), ("ALL",), "CAP_SYS_ADMIN", "CAP_CHOWN"),
        (("all",), ("chown",), "CAP_SYS_ADMIN", "CAP_CHOWN"),
        ((), ("CHOWN",), "CAP_KILL", "CAP_CHOWN"),
    ],
)
def test_capability_flags(add, drop, has, has_not):
    names = spec.capability_names(spec.DEFAULT_CAPABILITIES, add, drop, frozenset(spec.ALL_CAPABILITIES))
    assert has in names and has_not not in names


def test_an_unknown_capability_is_named():
    with pytest.raises(Invalid, match="CAP_FLY"):
        spec.capability_names((), ("fly",), (), frozenset())


def test_environments_merge_in_place():
    merged = spec.merge_environment(("PATH=/bin", "A=1", "B=2"), ("A=9", "C=3", "B", "E="))
    assert merged == ("PATH=/bin", "A=9", "C=3", "E=")


def test_a_network_namespace_that_is_there_is_joined():
    linux = spec.build(Process(("true",)), ROOT, network_path="/proc/1/ns/net")["linux"]
    assert [item for item in linux["namespaces"] if item["type"] == "network"] == [
        {"type": "network", "path": "/proc/1/ns/net"}
    ]


def test_a_user_that_the_namespace_does_not_have():
    lone = Host(user_namespace=True, id_count=1)
    assert spec.build(Process(("true",)), lone)["process"]["user"]["uid"] == 0
    for process in (Process(("true",), user_id=1), Process(("true",), group_id=1)):
        with pytest.raises(Denied, match=r"this user has 1 id$") as caught:
            spec.build(process, lone)
        assert caught.value.exit_code == 125
    assert spec.build(Process(("true",), user_id=65536), USER)["process"]["user"]["uid"] == 65536
