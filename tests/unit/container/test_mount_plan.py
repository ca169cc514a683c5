"""Which mounts a container has, and how inspect shows them."""

from __future__ import annotations

import pytest

from cais.container import mount_views
from cais.container.mount_options import MountPoint
from cais.container.mount_plan import plan_mounts
from cais.container.options import RunOptions
from cais.errors import Invalid


def planned(of_image, inherited, **wanted):
    return plan_mounts(of_image, RunOptions("image", **wanted), "/here", inherited)


def test_parents_come_first():
    points = planned((), (), volumes=["v:/a/b/c", "w:/a"], tmpfs=["/d/e"])
    assert [point.target for point in points] == ["/a", "/d/e", "/a/b/c"]


def test_two_at_one_place_are_an_error_and_the_same_twice_is_one():
    assert len(planned((), (), volumes=["/x:/y", "/x:/y"])) == 1
    for wanted in (
        {"volumes": ["/x:/y", "/z:/y"]},
        {"volumes": ["n:/y"], "mounts": ["src=v,dst=/y"]},
        {"volumes": ["n:/y"], "tmpfs": ["/y/"]},
        {"mounts": ["type=tmpfs,dst=/y", "src=v,dst=/y"]},
    ):
        with pytest.raises(Invalid, match="Duplicate mount point: /y"):
            planned((), (), **wanted)


def test_what_a_flag_says_stands_before_other_containers_and_the_image():
    others = (MountPoint("volume", "theirs", "/a", origin="from"), MountPoint("volume", "kept", "/b", origin="from"))
    points = {point.target: point for point in planned(["/a", "/b", "/c", "/"], others, volumes=["mine:/a", "/b"])}
    assert {target: point.source for target, point in points.items()} == {"/a": "mine", "/b": "kept", "/c": ""}
    assert points["/c"].anonymous and points["/c"].origin == "image"


def test_the_driver_is_for_volumes_without_one():
    points = {
        point.target: point.driver
        for point in planned(["/c"], (), volumes=["n:/a", "/x:/b"], mounts=["src=m,dst=/d,volume-driver=local"],
                             volume_driver="nfs")
    }  # fmt: skip
    assert points == {"/a": "nfs", "/b": "", "/c": "nfs", "/d": "local"}


# As docker 26 showed them.
SHOWN = [
    (
        {"volumes": ["nm:/x:ro,Z"]},
        {"Type": "volume", "Name": "nm", "Source": "/v/nm", "Destination": "/x", "Driver": "local", "Mode": "ro,Z",
         "RW": False, "Propagation": ""},
    ),
    (
        {"volumes": ["nm:/x"]},
        {"Type": "volume", "Name": "nm", "Source": "/v/nm", "Destination": "/x", "Driver": "local", "Mode": "z",
         "RW": True, "Propagation": ""},
    ),
    (
        {"volumes": ["/l:/x:rslave,ro"]},
        {"Type": "bind", "Source": "/l", "Destination": "/x", "Mode": "rslave,ro", "RW": False,
         "Propagation": "rslave"},
    ),
    (
        {"mounts": ["type=bind,source=/l,target=/x"]},
        {"Type": "bind", "Source": "/l", "Destination": "/x", "Mode": "", "RW": True, "Propagation": "rprivate"},
    ),
    (
        {"mounts": ["type=tmpfs,target=/x,tmpfs-size=64m"]},
        {"Type": "tmpfs", "Source": "", "Destination": "/x", "Mode": "", "RW": True, "Propagation": ""},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "shown"), SHOWN)
def test_mounts_are_shown_as_docker_shows_them(wanted, shown):
    assert mount_views.mounts(planned((), (), **wanted), {"nm": "/v/nm"}) == [shown]


SPECS = [
    ("type=volume,target=/x", {"Type": "volume", "Target": "/x"}),
    (
        "source=nm,target=/x,readonly,volume-label=a=b,volume-label=c",
        {"Type": "volume", "Source": "nm", "Target": "/x", "ReadOnly": True,
         "VolumeOptions": {"Labels": {"a": "b", "c": ""}, "DriverConfig": {}}},
    ),
    (
        "type=volume,source=nm,target=/x,volume-subpath=a",
        {"Type": "volume", "Source": "nm", "Target": "/x", "VolumeOptions": {"Subpath": "a", "DriverConfig": {}}},
    ),
    (
        "type=volume,source=nm,target=/x,volume-opt=a=b",
        {"Type": "volume", "Source": "nm", "Target": "/x",
         "VolumeOptions": {"DriverConfig": {"Options": {"a": "b"}}}},
    ),
    (
        "type=bind,source=/l,target=/x,bind-recursive=readonly,readonly,bind-propagation=rprivate",
        {"Type": "bind", "Source": "/l", "Target": "/x", "ReadOnly": True,
         "BindOptions": {"Propagation": "rprivate", "ReadOnlyForceRecursive": True}},
    ),
    (
        "type=bind,source=/l,target=/x,bind-recursive=disabled",
        {"Type": "bind", "Source": "/l", "Target": "/x", "BindOptions": {"NonRecursive": True}},
    ),
    (
        "type=bind,source=/l,target=/x,consistency=cached",
        {"Type": "bind", "Source": "/l", "Target": "/x", "Consistency": "cached"},
    ),
    (
        "type=tmpfs,target=/x,tmpfs-size=64m,tmpfs-mode=1770",
        {"Type": "tmpfs", "Target": "/x", "TmpfsOptions": {"SizeBytes": 64 << 20, "Mode": 0o1770}},
    ),
    (
        "type=image,source=tools,target=/x,image-subpath=bin",
        {"Type": "image", "Source": "tools", "Target": "/x", "ImageOptions": {"Subpath": "bin"}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), SPECS)
def test_what_mount_was_given_is_shown(text, shown):
    points = planned((), (), mounts=[text])
    assert mount_views.host_config(points) == {"Mounts": [shown]}
    assert mount_views.binds(points) is None


def test_binds_tmpfs_and_anonymous_volumes_are_shown_apart():
    points = planned(["/of/image"], (), volumes=["/l:/x:z", "nm:/y", "/anon"], tmpfs=["/t:size=1m,exec", "/u"])
    assert mount_views.binds(points) == ["/l:/x:z", "nm:/y"]
    assert mount_views.host_config(points) == {"Tmpfs": {"/t": "size=1m,exec", "/u": ""}}
    assert mount_views.anonymous(points) == {"/of/image": {}, "/anon": {}}
    assert "/t" not in [mount["Destination"] for mount in mount_views.mounts(points, {})]
