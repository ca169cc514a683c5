"""Users of an image, with Docker's rules, in files that may be hostile."""

from __future__ import annotations

import pytest

from cais.errors import Invalid, NotFound
from cais.runtime import users

PASSWD = [
    line.split(":") for line in ("root:x:0:0:root:/root:/bin/sh", "ada:x:1000:1001::/home/ada:", "bad", "x:y:z:w")
]
GROUP = [line.split(":") for line in ("root:x:0:", "wheel:x:10:root,ada", "staff:x:50:ada", "short:x")]


@pytest.mark.parametrize(
    ("text", "user_id", "group_id", "groups", "home"),
    [
        ("", 0, 0, (0, 10), "/root"),
        ("root", 0, 0, (0, 10), "/root"),
        ("ada", 1000, 1001, (1001, 10, 50), "/home/ada"),
        ("1000", 1000, 1001, (1001, 10, 50), "/home/ada"),
        ("ada:staff", 1000, 50, (50,), "/home/ada"),
        ("ada:7", 1000, 7, (7,), "/home/ada"),
        ("4242", 4242, 0, (0,), "/"),
        ("4242:4343", 4242, 4343, (4343,), "/"),
    ],
)
def test_forms(text, user_id, group_id, groups, home):
    found = users.find(text, PASSWD, GROUP)
    assert (found.user_id, found.group_id, found.groups, found.home) == (user_id, group_id, groups, home)


@pytest.mark.parametrize("number", ["\u00b2", "\u0663", "9" * 5000, "-1", ""])
def test_what_is_no_number_is_no_entry(number):
    passwd = [["odd", "x", number, number, "", "/"], ["ada", "x", "1000", number, "", "/home/ada"]]
    group = [["odd", "x", number, "ada"], ["staff", "x", "50", "ada"]]
    assert users.find("ada", passwd, group)[:3] == (1000, 0, (0, 50))
    for text in ("odd", "ada:odd"):
        with pytest.raises(NotFound):
            users.find(text, passwd, group)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("ada:none", "unable to find group none: no matching entries in group file"),
    ],
)
def test_missing_ones_are_named_as_docker_does(text, message):
    with pytest.raises(NotFound, match=message) as error:
        users.find(text, PASSWD, GROUP)
    assert error.value.exit_code == 125


@pytest.mark.parametrize("text", ["-1", "2147483648", "0:2147483648", "4294967295"])
def test_ids_out_of_range_are_refused(text):
    with pytest.raises(Invalid, match="uids and gids must be in range 0-2147483647") as error:
        users.find(text, PASSWD, GROUP)
    assert error.value.exit_code == 125


def test_ids_out_of_range():
    with pytest.raises(Invalid, match="range"):
        users.find("99999999999", PASSWD, GROUP)


def test_additional_groups():
    assert users.find("4242", PASSWD, GROUP, ("staff", "99")).groups == (0, 50, 99)


def test_links_lead_nowhere_outside_the_root(tmp_path):
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (tmp_path / "passwd").write_text("evil:x:666:666::/:\n")
    (root / "etc" / "passwd").symlink_to("../../passwd")
    with pytest.raises(NotFound):
        users.look_up("evil", str(root))
    (root / "passwd").write_text("good:x:5:5::/:\n")
    assert users.look_up("good", str(root)).user_id == 5


def test_a_fifo_or_a_directory_is_no_passwd_file(tmp_path):
    import os

    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc" / "passwd")
    (tmp_path / "etc" / "group").mkdir()
    assert users.look_up("7:8", str(tmp_path)).group_id == 8


def test_a_huge_passwd_file_is_refused(tmp_path):
    (tmp_path / "etc").mkdir()
    with open(tmp_path / "etc" / "passwd", "wb") as file:
        file.truncate(17 << 20)
    with pytest.raises(Invalid, match="larger than 16 MiB"):
        users.look_up("ada", str(tmp_path))
