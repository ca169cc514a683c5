"""Mounts on the real kernel, as root and as an ordinary user."""

from __future__ import annotations

import os

import pytest

from cais.errors import CaisError, NotFound
from cais.host import mounts, namespaces
from cais.spec.mount import Mount

pytestmark = pytest.mark.root


def layers(directory, count):
    made = []
    for number in range(count):
        layer = directory / f"layer-{number:04}"
        layer.mkdir()
        (layer / f"file-{number}").write_text(str(number))
        (layer / "shared").write_text(f"from {number}")
        made.append(str(layer))
    return tuple(reversed(made))


def overlay(tmp_path, count):
    for name in ("upper", "work", "merged"):
        (tmp_path / name).mkdir()
    return Mount(
        "overlay", "overlay", "/", (), layers(tmp_path, count), str(tmp_path / "upper"), str(tmp_path / "work")
    )


@pytest.mark.parametrize("count", [1, 2, 400])
def test_overlay_of_many_layers(tmp_path, count, in_child):
    mount = overlay(tmp_path, count)
    merged = tmp_path / "merged"

    def action():
        namespaces.enter()
        mounts.realise([mount], str(merged))
        assert len(os.listdir(merged)) == count + 1
        (merged / "new").write_text("new")
        (merged / "file-0").unlink()
        text = (merged / "shared").read_text()
        mounts.unmount(str(merged))
        assert os.listdir(merged) == []
        return text

    assert in_child(action) == f"from {count - 1}"
    assert sorted(os.listdir(tmp_path / "upper")) == ["file-0", "new"]


def test_an_old_kernels_way_holds_many_layers_by_short_paths(tmp_path, in_child):
    mount = overlay(tmp_path, 100)

    def action():
        namespaces.enter()
        options = mounts._overlay_options(mount)
        mounts._overlay_by_mount(list(mount.lower), mount, options, str(tmp_path / "merged"))
        return (tmp_path / "merged" / "shared").read_text()

    assert in_child(action) == "from 99"


def test_more_layers_than_an_old_kernel_holds_is_said(tmp_path):
    mount = Mount("overlay", "overlay", "/", (), tuple(f"/a/{number:060}" for number in range(90)))
    with pytest.raises(CaisError, match="cannot stack 90 layers"):
        mounts._overlay_by_mount(list(mount.lower), mount, [], str(tmp_path))


@pytest.mark.parametrize("count", [1, 3])
def test_a_view_is_read_only(tmp_path, count, in_child):
    mount = overlay(tmp_path, count)._replace(upper="", work="")

    def action():
        namespaces.enter()
        mounts.realise([mount._replace(options=("ro",))], str(tmp_path / "merged"))
        try:
            (tmp_path / "merged" / "new").write_text("")
        except OSError as error:
            return error.errno

    assert in_child(action) == "30"


def test_overlay_as_an_ordinary_user(tmp_path, ordinary_user, in_child):
    base = ordinary_user.directory

    def action():
        ordinary_user.become()
        namespaces.enter()
        mount = overlay(base, 3)
        mounts.realise([mount], str(base / "merged"))
        os.chown(base / "merged" / "shared", 5, 5)
        (base / "merged" / "file-0").unlink()
        return sorted(os.listdir(base / "merged"))

    assert in_child(action) == "['file-1', 'file-2', 'shared']"


def test_names_with_separators(tmp_path, in_child):
    strange = tmp_path / "a:b,c\\d=e"
    strange.mkdir()
    mount = overlay(strange, 3)

    def action():
        namespaces.enter()
        mounts.realise([mount], str(strange / "merged"))
        first = (strange / "merged" / "shared").read_text()
        mounts.unmount(str(strange / "merged"))
        mounts._overlay_by_mount(list(mount.lower), mount, mounts._overlay_options(mount), str(strange / "merged"))
        return first == (strange / "merged" / "shared").read_text()

    assert in_child(action) == "True"


def test_bind_keeps_flags_and_reaches_below(tmp_path, in_child):
    for name in ("source/below", "target"):
        (tmp_path / name).mkdir(parents=True)

    def action():
        namespaces.enter()
        from cais.host import syscalls

        syscalls.mount("tmpfs", str(tmp_path / "source" / "below"), "tmpfs", syscalls.MS_NOSUID)
        bind = Mount("bind", str(tmp_path / "source"), "/target", ("ro", "nodev"))
        mounts.realise([bind], str(tmp_path))
        flags = os.statvfs(tmp_path / "target" / "below").f_flag
        return [bool(flags & flag) for flag in (os.ST_RDONLY, os.ST_NOSUID, os.ST_NODEV, os.ST_NOEXEC)]

    assert in_child(action) == "[True, True, True, False]"


def test_a_target_cannot_leave_the_root(tmp_path, in_child):
    root = tmp_path / "root"
    (root / "inside").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (root / "link").symlink_to("../outside")
    (root / "outside").mkdir()

    def action():
        namespaces.enter()
        mounts.realise([Mount("tmpfs", "tmpfs", "/link", ("size=1m", "nosuid"))], str(root))
        return os.path.ismount(root / "outside"), os.path.ismount(tmp_path / "outside")

    assert in_child(action) == "(True, False)"


def test_a_failure_undoes_the_mounts_before_it(tmp_path, in_child):
    (tmp_path / "a").mkdir()

    def action():
        namespaces.enter()
        with pytest.raises(NotFound):
            mounts.realise([Mount("tmpfs", "", "/a"), Mount("bind", str(tmp_path / "none"), "/a")], str(tmp_path))
        return os.path.ismount(tmp_path / "a")

    assert in_child(action) == "False"


def test_a_volatile_overlay_is_mounted_again_when_its_mark_is_gone(tmp_path, in_child):
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    mount = Mount(
        "overlay",
        "overlay",
        "/",
        ("volatile",),
        (str(tmp_path / "lower"),),
        str(tmp_path / "upper"),
        str(tmp_path / "work"),
    )

    def action():
        namespaces.enter()
        merged = str(tmp_path / "merged")
        mounts.mount_overlay(mount, merged)
        with open("/proc/self/mountinfo") as lines:
            options = next(line for line in lines if f" {merged} " in line)
        mounts.unmount(merged)
        with pytest.raises(OSError):
            mounts.mount_overlay(mount._replace(options=()), merged)
        return "volatile" in options

    assert in_child(action) == "True"
    assert (tmp_path / "work/work/incompat/volatile").exists()
