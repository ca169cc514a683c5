"""SSH agents for RUN: real ones, asked through the socket that a step gets."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess

import pytest

from cais.build.ops.agent import AgentSocket, KeyAgent
from cais.errors import Invalid

pytestmark = pytest.mark.skipif(
    not (shutil.which("ssh-keygen") and shutil.which("ssh-agent")), reason="needs openssh-client"
)


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test-key", "-f", str(path)], check=True)
    path.chmod(0o644)  # Docker takes it, too
    return str(path)


def listed(path: str) -> str:
    done = subprocess.run(
        ["ssh-add", "-l"], env={"SSH_AUTH_SOCK": path, "PATH": os.environ["PATH"]},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_a_key_is_served_through_the_steps_socket(key, tmp_path):
    agent = KeyAgent([key])
    try:
        inside = tmp_path / ("long" * 30)
        inside.mkdir()
        served = AgentSocket(str(inside), "agent.0", agent.socket, (os.getuid(), os.getgid()), 0o640)
        try:
            assert stat.S_IMODE(os.stat(served.path).st_mode) == 0o640
            (tmp_path / "short").symlink_to(served.path)
            assert "test-key" in listed(str(tmp_path / "short")) and "test-key" in listed(str(tmp_path / "short"))
        finally:
            served.close()
    finally:
        agent.close()
    assert not os.path.exists(agent.socket) and not os.path.exists(os.path.dirname(agent.socket))


def test_an_agent_that_is_gone_ends_the_connection(tmp_path):
    served = AgentSocket(str(tmp_path), "a", str(tmp_path / "nobody"), (os.getuid(), os.getgid()), 0o600)
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(served.path)
            assert client.recv(1) == b""
    finally:
        served.close()


def test_what_is_no_key_is_refused(tmp_path):
    (tmp_path / "text").write_text("no key")
    with pytest.raises(Invalid, match="failed to parse"):
        KeyAgent([str(tmp_path / "text")])


def test_a_key_with_a_passphrase_is_refused(tmp_path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "phrase", "-f", str(tmp_path / "key")], check=True)
    with pytest.raises(Invalid, match="passphrase"):
        KeyAgent([str(tmp_path / "key")])


def test_nothing_stays_open(key):
    before = set(os.listdir("/proc/self/fd"))
    KeyAgent([key]).close()
    assert set(os.listdir("/proc/self/fd")) == before
