"""Volumes by the command line: what Docker's client says, and what it does not have."""

from __future__ import annotations

import io
import json
import os
import tarfile

import pytest

pytestmark = pytest.mark.root


@pytest.fixture
def data(cais, tmp_path):
    """A volume with a file in it, of 1000:1000."""
    assert cais("volume", "create", "--uid", "1000", "--gid", "1000", "--mode", "750", "data").returncode == 0
    (tmp_path / "file").write_text("one")
    done = cais("volume", "cp", str(tmp_path / "file"), "data:/")
    assert done.returncode == 0, done.stderr
    return "data"


def mountpoint(cais, name):
    return cais("volume", "inspect", "-f", "{{.Mountpoint}}", name).stdout.strip()


def test_create_like_docker(cais):
    assert cais("volume", "create", "-o", "type=nfs", "data").stderr == (
        'Error: create data: missing required option: "device"\n'
    )
    assert "not a swarm manager" in cais("volume", "create", "--scope", "multi", "data").stderr
    assert "quota size requested but no quota support" in cais("volume", "create", "-o", "size=1m", "data").stderr
    assert cais("volume", "ls", "-q").stdout == ""
    made = cais("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=5", "data")
    assert made.stdout == "data\n"
    assert json.loads(cais("volume", "inspect", "data").stdout)[0]["Options"] == {
        "device": "tmpfs", "o": "size=1m,uid=5", "type": "tmpfs",
    }  # fmt: skip
    assert "N/A" in cais("volume", "ls", "--size").stdout


def test_list_filters_and_columns(cais, data):
    assert cais("volume", "ls", "--filter", "dangling=x").stderr == "Error: invalid filter 'dangling=[x]'\n"
    assert cais("volume", "ls", "--cluster").stdout.split() == [
        "VOLUME", "NAME", "GROUP", "DRIVER", "AVAILABILITY", "STATUS", "data", "N/A", "local", "N/A", "N/A",
    ]  # fmt: skip
    lines = cais("volume", "ls", "--size").stdout.splitlines()
    assert lines[0].split() == ["DRIVER", "VOLUME", "NAME", "SIZE"] and lines[1].endswith("B")
    assert cais("volume", "ls", "--format", "{{.Name}} {{.Links}}", "--size").stdout == "data 0\n"


def test_labels_and_names(cais, data):
    assert "Can only update cluster volumes" in cais("volume", "update", "data").stderr
    assert cais("volume", "update", "--label", "a=1", "--label", "b=2", "data").stdout == "data\n"
    cais("volume", "update", "--label-rm", "a", "data")
    assert cais("volume", "ls", "-q", "--filter", "label=b=2").stdout == "data\n"
    assert cais("volume", "ls", "-q", "--filter", "name=^da.a$").stdout == "data\n"
    assert cais("volume", "ls", "-q", "--filter", "name=^ata").stdout == ""
    assert cais("volume", "ls", "-q", "--filter", "label=a").stdout == ""
    assert cais("volume", "rename", "data", "renamed").returncode == 0
    assert cais("volume", "ls", "-q").stdout == "renamed\n"
    assert "no such volume" in cais("volume", "rename", "data", "other").stderr


def test_copies(cais, data, tmp_path):
    place = mountpoint(cais, data)
    assert cais("volume", "snapshot", data, "a").stdout == "data@a\n"
    (tmp_path / "file").write_text("two")
    cais("volume", "cp", str(tmp_path / "file"), "data:/")
    assert cais("volume", "clone", "data@a", "old").stdout == "old\n"
    assert cais("volume", "clone", "data", "new").stdout == "new\n"
    for name, text in (("old", "one"), ("new", "two")):
        path = mountpoint(cais, name)
        with open(os.path.join(path, "file")) as file:
            assert file.read() == text
        assert (os.stat(path).st_uid, os.stat(path).st_mode & 0o777) == (1000, 0o750)
    assert "a volume with this name exists" in cais("volume", "clone", "data", "new").stderr
    assert cais("volume", "restore", data, "a").returncode == 0
    assert not os.path.exists(place)
    assert cais("volume", "cp", "data:/file", "-", text=False).stdout.startswith(b"file\0")
    assert cais("volume", "ls", "--snapshots", "-q").stdout == "data@a\n"
    assert "volume has snapshots" in cais("volume", "rm", data).stderr
    cais("volume", "prune", "-af")
    assert cais("volume", "ls", "-q").stdout == "data\n"
    assert cais("volume", "rm", "data@a", "data").stdout == "data@a\ndata\n"
    assert os.listdir(tmp_path / "root" / "volumes") == []


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_export_and_import(cais, data, tmp_path, compression):
    done = cais("volume", "export", "--compression", compression, data, text=False)
    assert done.returncode == 0 and done.stdout
    again = cais("volume", "import", "again", "-", input=done.stdout, text=False)
    assert again.returncode == 0, again.stderr
    plain = cais("volume", "export", "again", text=False).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        assert {(entry.name, entry.uid, entry.mode) for entry in archive} == {
            (".", 1000, 0o750), ("./file", 0, 0o644),
        }  # fmt: skip
    assert "unknown compression" in cais("volume", "export", "--compression", "lz4", data).stderr


def test_cp_stays_in_the_volume(cais, data, tmp_path):
    """Links in a volume lead nowhere else, whoever made them."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    place = mountpoint(cais, data)
    os.symlink("/", os.path.join(place, "out"))
    os.symlink(str(secret), os.path.join(place, "link"))
    for path in (f"out{secret}", "link", f"../../../..{secret}"):
        done = cais("volume", "cp", "-L", f"data:{path}", str(tmp_path / "got"))
        assert done.returncode == 1 and not (tmp_path / "got").exists()
    (tmp_path / "mine").write_text("mine")
    cais("volume", "cp", str(tmp_path / "mine"), "data:/link")
    cais("volume", "cp", str(tmp_path / "mine"), f"data:/out{secret}")
    assert secret.read_text() == "secret"
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        entry = tarfile.TarInfo("out/" + str(secret).lstrip("/"))
        archive.addfile(entry)
    cais("volume", "cp", "-", "data:/", input=tar.getvalue(), text=False)
    assert secret.read_text() == "secret"
    assert "is a snapshot" in (
        cais("volume", "snapshot", data, "a") and cais("volume", "cp", str(tmp_path / "mine"), "data@a:/").stderr
    )


def test_a_bound_volume_is_read_where_it_is(cais, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("there")
    cais("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}/elsewhere", "bound")
    assert cais("volume", "cp", "bound:/file", str(tmp_path / "got")).returncode == 0
    assert (tmp_path / "got").read_text() == "there"
    (tmp_path / "more").touch()
    assert cais("volume", "cp", str(tmp_path / "more"), "bound:/").returncode == 0
    assert (tmp_path / "elsewhere" / "more").exists()
    for words in (("snapshot", "bound"), ("clone", "bound", "other"), ("import", "bound", "-")):
        assert "its files are in a file system of type none" in cais("volume", *words).stderr
    assert cais("volume", "rm", "bound").returncode == 0 and (tmp_path / "elsewhere" / "file").exists()


def test_system_df_and_prune(cais, data):
    shown = cais("system", "df", "-v").stdout
    for title in (
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage: 0B",
    ):
        assert title in shown
    assert cais("system", "df", "-v", "--format", "{{range .Volumes}}{{.Name}} {{.Links}}{{end}}").stdout == "data 0\n"
    assert cais("system", "prune", "-a", "--volumes", "--filter", "label=a", input="n\n").stdout == (
        "WARNING! This will remove:\n"
        "  - all stopped containers\n"
        "  - all networks not used by at least one container\n"
        "  - all anonymous volumes not used by at least one container\n"
        "  - all images without at least one container associated to them\n"
        "  - all build cache\n"
        "\n"
        "  Items to be pruned will be filtered with:\n"
        "  - label=a\n"
        "\n"
        "Are you sure you want to continue? [y/N] "
    )
    wrong = cais("system", "prune", "--volumes", "--filter", "until=1h").stderr
    assert wrong == 'Error: The "until" filter is not supported with "--volumes"\n'
    anonymous = cais("volume", "create").stdout.strip()
    assert cais("system", "prune", "-f").stdout == "Total reclaimed space: 0B\n"
    assert cais("system", "prune", "-f", "--volumes").stdout.startswith(f"Deleted Volumes:\n{anonymous}\n")
    assert cais("volume", "ls", "-q").stdout == "data\n"


def test_check_finds_what_is_gone(cais, data):
    import shutil

    cais("volume", "snapshot", data, "a")
    cais("volume", "create", "gone")
    for name in ("gone", "data@a"):
        shutil.rmtree(mountpoint(cais, name))
    found = cais("system", "check")
    assert found.returncode == 1
    assert found.stdout.splitlines()[:2] == [
        "volume gone: its directory is not there", "snapshot data@a: its directory is not there",
    ]  # fmt: skip
    assert cais("system", "check", "--repair").returncode == 0
    assert cais("system", "check").stdout == "All is well\n"
    assert cais("volume", "ls", "--snapshots", "-q").stdout == ""
    assert os.path.isdir(mountpoint(cais, "gone"))
