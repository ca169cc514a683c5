"""What suites written for Docker look for in its words: of wrong names, values and combinations of flags."""

from __future__ import annotations

import json
import shlex
import tarfile

import pytest

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def there(box):
    """Two containers that do not run: ``first`` and ``second``."""
    box("create", "--name", "first", "box")
    box("create", "--name", "second", "box")
    yield box
    box("rm", "first", "second")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rename first second", 'Error: Error when allocating new name: Conflict. The container name "/second" is'),
        ("rename first second", "Error: failed to rename container named first"),
        ("rename first d/e", "Error when allocating new name: Invalid container name (d/e)"),
        ("rename first ''", "Error: Neither old nor new names may be empty\n"),
        ("rename '' third", "Error: Neither old nor new names may be empty\n"),
        ("start nope first2", "Error: failed to start containers: nope, first2\n"),
        ("kill nope", "Error: cannot kill container: nope: No such container: nope"),
        ("kill first", "Error: cannot kill container: first: container "),
        ("kill -s 0 first", "Error: cannot kill container: first: invalid signal: 0"),
        ("kill -s 99 first", "Error: cannot kill container: first: the linux daemon does not support signal 99"),
        ("logs --since x first", 'Error: invalid value for "since": failed to parse value as time or duration: "x"'),
        ("logs --until x first", 'Error: invalid value for "until": failed to parse value as time or duration: "x"'),
        ("rm /nope", "Error: No such container: nope\n"),
        ("exec '' true", "Error: invalid container name or ID: value is empty\n"),
        (
            "tag box UP",
            'Error: Error parsing reference: "UP" is not a valid repository/tag: invalid reference format: ',
        ),
        ("tag box UP", "repository name (library/UP) must be lowercase\n"),
        ("tag box -x", 'Error parsing reference: "-x" is not a valid repository/tag: invalid reference format'),
        ("tag box sha256:x", "Error: refusing to create an ambiguous tag using digest algorithm as name\n"),
        ("tag box sha256", "Error: refusing to create an ambiguous tag using digest algorithm as name\n"),
        ("commit first UP", "Error: invalid reference format: repository name (library/UP) must be lowercase\n"),
        ("commit -c 'RUN x' first", "Error: RUN is not a valid change command\n"),
        ("commit -c 'bogus x' first", "Error: BOGUS is not a valid change command\n"),
        ("port first x", "Error: invalid port (x): "),
        (
            "volume create --driver nope vol",
            'Error: create vol: error looking up volume plugin nope: plugin "nope" not',
        ),
        ("volume prune -f -a --filter all=1", "conflicting options: cannot specify both --all and --filter all=1\n"),
        ("network disconnect -f bridge nope", "Error: endpoint nope not found\n"),
    ],
)
def test_of_commands(there, line, said):
    assert said in there(*shlex.split(line), code=1)


def test_a_start_that_fails_has_the_code_of_other_commands(box):
    box("create", "--name", "nothing", "--network", "none", "box", "no-such-program")
    said = box("start", "nothing", code=1)
    assert said.endswith("Error: failed to start containers: nothing\n")
    assert 'exec: "no-such-program": executable file not found in $PATH' in box("start", "-a", "nothing", code=1)
    assert box.state("nothing")["ExitCode"] == 127
    box("rm", "nothing")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--name me1 --network container:me1", "Error: cannot join own network\n"),
        ("-u 2147483648", "Error: uids and gids must be in range 0-2147483647\n"),
        ("-u -1", "Error: uids and gids must be in range 0-2147483647\n"),
        ("-w /bin/sh", "Error: Cannot mkdir: /bin/sh is not a directory\n"),
        ("-v :/x", "Error: invalid spec: :/x: empty section between colons\n"),
        ("--tmpfs /x:foo", 'Error: invalid tmpfs option "foo"\n'),
    ],
)
def test_of_run(box, flags, said):
    words = flags.split()
    network = () if "--network" in words else ("--network", "none")
    assert said in box("run", "--rm", *network, *words, "box", "true", code=125)


def test_capabilities_are_shown_in_one_form(box):
    box("create", "--name", "caps", "--cap-add", "net_admin", "--cap-add", "ALL", "--cap-drop", "CAP_CHOWN", "box")
    config = box.inspect("caps")["HostConfig"]
    assert (config["CapAdd"], config["CapDrop"]) == (["ALL", "CAP_NET_ADMIN"], ["CAP_CHOWN"])
    box("rm", "caps")


def test_maps_are_sorted(box):
    words = [word for key in ("z", "a", "m") for word in ("--label", f"{key}=1", "--annotation", f"{key}=1")]
    box("create", "--name", "maps", *words, "--log-opt", "max-size=1m", "--log-opt", "max-file=2", "box")
    shown = box.inspect("maps")
    assert list(shown["Config"]["Labels"]) == list(shown["HostConfig"]["Annotations"]) == ["a", "m", "z"]
    assert list(shown["HostConfig"]["LogConfig"]["Config"]) == ["max-file", "max-size"]
    box("rm", "maps")
    box("volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "--label", "z=1", "--label", "a=1", "sorted")
    (volume,) = json.loads(box("volume", "inspect", "sorted"))
    assert (list(volume["Options"]), list(volume["Labels"])) == (["device", "type"], ["a", "z"])
    box("volume", "rm", "sorted")


def test_an_archive_has_the_oldest_form_of_names_too(box, tmp_path):
    box("tag", "box", "older:1")
    box("save", "-o", str(tmp_path / "x.tar"), "older:1")
    with tarfile.open(tmp_path / "x.tar") as archive:
        names = json.loads(archive.extractfile("repositories").read())
        (entry,) = json.loads(archive.extractfile("manifest.json").read())
    assert names == {"older": {"1": entry["Layers"][-1].rpartition("/")[2]}}
    box("rmi", "older:1")
