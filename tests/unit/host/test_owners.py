"""Giving files away, with few ids."""

from __future__ import annotations

import os

import pytest

from cais.errors import Denied
from cais.host import namespaces, owners


@pytest.mark.root
@pytest.mark.parametrize("by_name", [True, False])
def test_ids_that_there_are_not(tmp_path, ordinary_user, in_child, by_name):
    def action():
        lone = ordinary_user._replace(user_id=54321, group_id=54321)
        os.chown(ordinary_user.directory, 54321, 54321)
        lone.become()
        namespaces.enter()
        path = ordinary_user.directory / "file"
        path.touch()
        descriptor = os.open(path, os.O_RDONLY)
        owners.give(os.fsencode(path) if by_name else descriptor, 0, 0)
        with pytest.raises(Denied, match="user 1000 and group 0: this user has no such ids") as caught:
            owners.give(os.fsencode(path) if by_name else descriptor, 1000, 0)
        return caught.value.hint

    assert "only one user id exists" in in_child(action)


@pytest.mark.root
def test_a_name_is_looked_up_in_a_directory_and_not_followed(tmp_path):
    (tmp_path / "target").touch()
    (tmp_path / "link").symlink_to("target")
    descriptor = os.open(tmp_path, os.O_RDONLY)
    owners.give("link", 12, 34, directory=descriptor)
    os.close(descriptor)
    assert os.lstat(tmp_path / "link").st_uid == 12
    assert os.stat(tmp_path / "target").st_uid == 0
