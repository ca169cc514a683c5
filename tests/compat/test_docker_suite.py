"""What Docker's own integration suite asks of its command line, where nothing else here asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root


class Engine:
    """The command on a root directory of its own, with the image ``busybox``."""

    def __init__(self, root: Path, busybox_tar: Path) -> None:
        self._environment = {**os.environ, "CAIS_ROOT": str(root)}
        self("import", "-c", 'CMD ["sh"]', "-c", "ENV GIVEN=by-the-image", str(busybox_tar), "busybox")

    def __call__(
        self, *words: str, code: int = 0, stdin: bytes = b"", environment: dict[str, str] | None = None
    ) -> str:
        """Standard output; of what fails standard error."""
        done = subprocess.run(
            [sys.executable, "-m", "cais", *words],
            env={**self._environment, **(environment or {})},
            input=stdin,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr.decode()
        return (done.stderr if code else done.stdout).decode()


@pytest.fixture(scope="module")
def cais(tmp_path_factory: pytest.TempPathFactory, busybox_tar: Path) -> Engine:
    return Engine(tmp_path_factory.mktemp("root"), busybox_tar)


def test_an_attached_run_ends_with_its_own_end_where_a_policy_starts_it_again(cais: Engine) -> None:
    restart = ("--name", "again", "--restart", "always", "--network", "none")
    try:
        # With its input at an end the second run waits for ever: its end is not the one that was asked for.
        cais("run", "-i", *restart, "busybox", "sh", code=11, stdin=b"exit 11\n")
    finally:
        cais("rm", "-f", "again")


def test_one_stream_of_a_terminal(cais: Engine) -> None:
    for stream in ("stderr", "stdout"):
        cais("run", "--rm", "-t", "-a", stream, "--network", "none", "busybox", "true")


def test_a_name_without_a_value_takes_the_variable_away(cais: Engine) -> None:
    words = ("run", "--rm", "--network", "none", "-e", "HOSTNAME", "-e", "GIVEN", "-e", "HOME=", "busybox", "env")
    cais._environment.pop("GIVEN", None)
    cais._environment.pop("HOSTNAME", None)
    assert sorted(cais(*words).split()) == [
        "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    ]  # fmt: skip
    given = cais(*words, environment={"HOSTNAME": "bar"})
    assert "HOSTNAME=bar" in given.split()


def test_the_network_files_of_a_read_only_container_are_so_too(cais: Engine, tmp_path: Path) -> None:
    own = tmp_path / "hosts"
    own.write_text("")
    said = cais(
        "run", "--rm", "--read-only", "--network", "none", "-v", f"{own}:/etc/hosts", "busybox",
        "sh", "-c", "for f in hosts resolv.conf hostname; do echo >> /etc/$f || echo $f; done",
    )  # fmt: skip
    assert said.split() == ["resolv.conf", "hostname"]
    assert own.read_text() == "\n"


def test_is_refused_before_anything_is_made(cais: Engine) -> None:
    cais("create", "--name", "held", "-v", "/data", "busybox")
    cais("create", "--name", "hosted", "--network", "host", "busybox")
    try:
        for words, wrong in (
            (("-v", "/proc//sys"), 'cannot mount at "/proc/sys": it is inside /proc'),
            (("--tmpfs", "/proc/acpi"), "it is inside /proc"),
            (("--volumes-from", "held:nocopy"), "invalid mode: nocopy"),
            (("--link", "nothing:nothing"), "could not get container for nothing: No such container: nothing"),
            (("--link", "hosted:alias"), "host type networking can't be used with links. This would result in"),
            (("--cpu-shares", "-1"), "shares: invalid argument"),
            (("--log-driver", "splunk"), "failed to initialize logging driver"),
        ):
            assert wrong in cais("run", "--name", "refused", *words, "busybox", "true", code=125)
        assert cais("ps", "-aq", "-f", "name=refused") == ""
    finally:
        cais("rm", "held", "hosted")


def test_no_image_is_called_as_a_digest(cais: Engine) -> None:
    cais("create", "--name", "committed", "busybox")
    try:
        assert "refusing to create an ambiguous tag" in cais("commit", "committed", "sha256:abc", code=1)
    finally:
        cais("rm", "committed")


def test_attach_and_detach_at_once(cais: Engine) -> None:
    assert "cannot specify both --attach and --detach" in cais("run", "-d", "-a", "stdout", "busybox", code=1)


def test_links_of_a_network_with_names_may_lead_to_what_comes_later(cais: Engine) -> None:
    cais("network", "create", "linked")
    try:
        cais("create", "--name", "first", "--network", "linked", "busybox", "true")
        cais(
            "run", "--rm", "--network", "linked", "--link", "first:one", "--link", "later:two", "busybox", "true"
        )  # fmt: skip
    finally:
        cais("rm", "-f", "first")
        cais("network", "rm", "linked")


def test_a_control_group_parent_cannot_lead_out(cais: Engine) -> None:
    cais("create", "--name", "grouped", "--cgroup-parent", "../../x/../group", "busybox")
    try:
        assert cais("inspect", "-f", "{{.HostConfig.CgroupParent}}", "grouped") == "group\n"
    finally:
        cais("rm", "grouped")


def test_a_list_tells_of_no_mount_for_tmpfs(cais: Engine) -> None:
    cais("create", "--name", "light", "--tmpfs", "/t", "-v", "kept:/data", "busybox")
    try:
        assert cais("ps", "-a", "-f", "name=light", "--format", "{{.Mounts}}") == "kept\n"
    finally:
        cais("rm", "light")
        cais("volume", "rm", "kept")


def test_names_in_filters_are_regular_expressions(cais: Engine) -> None:
    cais("network", "create", "--config-only", "names-in-a-filter")
    cais("volume", "create", "names-in-a-filter")
    try:
        for kind in ("network", "volume"):
            for pattern, there in (("^names-", True), ("filter$", True), ("in.a", True), ("^in-a", False)):
                said = cais(kind, "ls", "-f", f"name={pattern}", "--format", "{{.Name}}")
                assert said == ("names-in-a-filter\n" if there else "")
        identity = cais("network", "inspect", "-f", "{{.ID}}", "names-in-a-filter").strip()
        assert cais("network", "ls", "-q", "--no-trunc", "-f", f"id=^{identity[:9]}").strip() == identity
        assert "names-in-a-filter" not in cais("network", "prune", "-f")  # others take their settings from it
    finally:
        cais("network", "rm", "names-in-a-filter")
        cais("volume", "rm", "names-in-a-filter")


def test_a_commit_with_a_name_tells_of_it_and_no_time_is_no_bound(cais: Engine) -> None:
    cais("run", "--name", "written", "--network", "none", "busybox", "echo", "said")
    try:
        assert cais("logs", "--until", "0", "--since", "0", "written") == "said\n"
        cais("commit", "written", "told")
        told = cais("events", "--since", "1m", "--until", "0s", "--format", "{{.Action}} {{json .Actor.Attributes}}")
        lines = [line for line in told.splitlines() if "told:latest" in line]
        assert [line.partition(" ")[0] for line in lines] == ["tag", "commit"]
    finally:
        cais("rm", "written")
        cais("rmi", "told")
