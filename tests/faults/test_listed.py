"""Lists of containers: links, images that lost their names, ancestors."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.root


def _names(box, *words: str, format: str = "{{.Names}}") -> list[str]:
    return box("ps", "--format", format, *words).splitlines()


def test_links_of_the_default_network(box):
    box("create", "--name", "near", "box")
    box("create", "--name", "asks", "--link", "near:db", "--link", "near", "box")
    assert _names(box, "-a", "--no-trunc") == ["asks", "near,asks/db,asks/near"]
    assert _names(box, "-a") == ["asks", "near"]
    shown = box.inspect("asks")
    assert shown["HostConfig"]["Links"] == ["/near:/asks/db", "/near:/asks/near"]
    assert shown["NetworkSettings"]["Networks"]["bridge"]["Links"] is None
    box("rm", "--link", "asks/db")
    assert _names(box, "-a", "--no-trunc") == ["asks", "near,asks/near"]
    box("rm", "asks", "near")


def test_an_image_whose_name_has_gone_is_shown_by_its_id(box):
    (id,) = box("images", "-q", "--no-trunc", "box").split()
    box("tag", "box", "moved:1")
    box("create", "--name", "old", "moved:1")
    assert _names(box, "-a", format="{{.Image}}") == ["moved:1"]
    box("rmi", "moved:1")
    assert _names(box, "-a", format="{{.Image}}") == [id[7:19]]
    assert _names(box, "-a", "--no-trunc", format="{{.Image}}") == [id]
    assert _names(box, "-a", "--filter", "ancestor=box") == ["old"]
    box("rm", "old")
    box("create", "--name", "by_id", id[7:15])
    assert _names(box, "-a", format="{{.Image}}") == [id[7:15]]
    box("rm", "by_id")


def test_ancestors_are_what_an_image_was_built_upon(box):
    box("create", "--name", "parent", "box")
    box("commit", "-c", "LABEL a=b", "parent", "child:1")
    box("create", "--name", "child", "child:1")
    assert _names(box, "-a", "--filter", "ancestor=box") == ["child", "parent"]
    assert _names(box, "-a", "--filter", "ancestor=child:1") == ["child"]
    assert _names(box, "-a", "--filter", "ancestor=nope") == []
    box("rm", "child", "parent")
    box("rmi", "child:1")


def test_exited_is_looked_for_among_those_that_are_shown(box):
    box("run", "--name", "three", "--network", "none", "box", "sh", "-c", "exit 3", code=3)
    assert _names(box, "--filter", "exited=3") == []
    assert _names(box, "-a", "--filter", "exited=3") == _names(box, "--filter", "status=exited") == ["three"]
    box("rm", "three")
