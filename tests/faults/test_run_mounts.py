"""Secrets that leave no trace, caches that many builds share, and builds that are killed while they have both."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from test_killed import wait_until

pytestmark = pytest.mark.root

SECRET = "Tr0ub4dor-and-3"
LINES = "-----BEGIN KEY-----\nQUJDREVGR0hJSktMTU5P\n-----END KEY-----\n"


def wait_for(path) -> None:
    """Until somebody has written to the named pipe."""
    pipe = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert select.select([pipe], [], [], 60)[0], "nobody came"
    finally:
        os.close(pipe)


def holding(directory, *needles: str) -> list[str]:
    """The files below ``directory`` that have one of ``needles`` in them, or in their names."""
    found = []
    for parent, directories, files in os.walk(directory):
        for name in (*directories, *files):
            path = os.path.join(parent, name)
            data = b""
            if os.path.isfile(path) and not os.path.islink(path):
                with open(path, "rb") as file:
                    data = file.read()
            if any(needle.encode() in data or needle in name for needle in needles):
                found.append(path)
    return found


def test_no_secret_is_anywhere_while_it_runs_and_after(cais_with_base, tmp_path):
    cais = cais_with_base
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "key").write_text(LINES)
    context = cais.context(
        "context",
        "FROM base\n"
        "RUN --mount=type=secret,id=s --mount=type=secret,id=s,env=VALUE --mount=type=secret,id=k "
        "--mount=type=cache,target=/pipes cat /run/secrets/s /run/secrets/k; echo $VALUE; echo $VALUE >&2; "
        "echo x > /pipes/ready; read x < /pipes/go; env; echo $VALUE > /bin/none/none; exit 3\n",
    )
    # A cache with two pipes, to know when it runs and to let it go on.
    prepared = cais.context(
        "prepared", "FROM base\nRUN --mount=type=cache,target=/pipes mkfifo /pipes/ready /pipes/go\n"
    )
    cais("build", "-q", str(prepared))
    (name,) = cais("volume", "ls", "-q", "--filter", "kind=cache").stdout.split()
    pipes = cais("volume", "inspect", "-f", "{{.Mountpoint}}", name).stdout.strip()
    process = subprocess.Popen(
        cais.command(
            "build", "--progress=plain", "--secret", f"id=s,src={tmp_path}/secret", "--secret", "id=k,env=KEY",
            "-t", "app", str(context),
        ),
        env={**cais.environment, "KEY": LINES}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    wait_for(f"{pipes}/ready")
    assert holding(cais.root, SECRET, "QUJDREVGR0hJSktMTU5P") == []
    go = os.open(f"{pipes}/go", os.O_RDWR)  # waits for nobody
    os.write(go, b"x\n")
    said = process.communicate(timeout=60)[0].decode()
    os.close(go)
    assert process.returncode != 0 and "exit code: 3" in said
    assert said.count("***") >= 5 and SECRET not in said and "QUJDREVGR0hJSktMTU5P" not in said, said
    assert holding(cais.root, SECRET, "QUJDREVGR0hJSktMTU5P") == []
    shown = cais("builder", "logs").stdout + cais("builder", "logs").stderr
    assert "***" in shown and SECRET not in shown


def test_no_secret_is_in_the_image(cais_with_base, tmp_path):
    cais = cais_with_base
    (tmp_path / "secret").write_text(SECRET)
    context = cais.context(
        "context", 'FROM base\nRUN --mount=type=secret,id=s,env=V --mount=type=secret,id=s test -n "$V"\n'
    )
    cais("build", "-q", "--secret", f"id=s,src={tmp_path}/secret", "-t", "app", str(context))
    cais("save", "-o", str(tmp_path / "app.tar"), "app")
    assert SECRET.encode() not in (tmp_path / "app.tar").read_bytes()
    assert holding(cais.root, SECRET) == []


@pytest.mark.parametrize("sharing", ["shared", "private", "locked"])
def test_ten_builds_share_a_cache(cais_with_base, sharing):
    cais = cais_with_base
    # Who has it alone may count without care; who shares it appends, which the kernel does at once.
    step = "echo x >> /c/list" if sharing == "shared" else "n=$(cat /c/n || echo 0); usleep 20000; echo $((n+1)) > /c/n"
    context = cais.context("context", f"FROM base\nRUN --mount=type=cache,target=/c,sharing={sharing} {step}\n")
    running = [cais.start("build", "-q", "--no-cache", str(context)) for _ in range(10)]
    assert [process.wait(timeout=110) for process in running] == [0] * 10
    names = cais("volume", "ls", "-q", "--filter", "kind=cache").stdout.split()
    counted = 0
    for name in names:
        place = cais("volume", "inspect", "-f", "{{.Mountpoint}}", name).stdout.strip()
        if sharing == "shared":
            counted += len(Path(place, "list").read_text().split())
        else:
            counted += int(Path(place, "n").read_text())
    assert counted == 10 and (sharing == "private" or len(names) == 1)


def test_the_lock_of_a_killed_build_is_free_and_nothing_is_left(cais_with_base, tmp_path):
    cais = cais_with_base
    (tmp_path / "secret").write_text(SECRET)
    prepared = cais.context("prepared", "FROM base\nRUN --mount=type=cache,target=/c,sharing=locked mkfifo /c/ready\n")
    cais("build", "-q", str(prepared))
    (name,) = cais("volume", "ls", "-q", "--filter", "kind=cache").stdout.split()
    place = cais("volume", "inspect", "-f", "{{.Mountpoint}}", name).stdout.strip()
    context = cais.context(
        "context",
        "FROM base\nRUN --mount=type=cache,target=/c,sharing=locked --mount=type=secret,id=s,env=V "
        "echo x > /c/ready; sleep 300\n",
    )
    process = cais.start("build", "-q", "--secret", f"id=s,src={tmp_path}/secret", str(context))
    wait_for(f"{place}/ready")
    refused = cais("volume", "rm", name, check=False)
    assert refused.returncode == 1 and "in use by a build" in refused.stderr
    assert name not in cais("volume", "prune", "-f", "--filter", "kind=cache").stdout
    process.send_signal(signal.SIGKILL)
    process.wait()
    after = cais.context("after", "FROM base\nRUN --mount=type=cache,target=/c,sharing=locked ls /c\n")
    cais("build", "-q", str(after))
    cais("volume", "rm", name)
    cais("builder", "prune", "-f")
    assert [path for path in os.listdir(cais.root / "run") if not path.startswith(".")] == []
    assert holding(cais.root, SECRET) == []


def test_an_agent_with_a_key_serves_and_ends(cais_with_base, tmp_path):
    if not shutil.which("ssh-keygen") or not shutil.which("ssh-agent"):
        pytest.skip("needs openssh-client")
    cais = cais_with_base
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    private = (tmp_path / "key").read_text().splitlines()[2]
    # A request for the list of keys (SSH_AGENTC_REQUEST_IDENTITIES), answered with one key, as a user other than root.
    context = cais.context(
        "context",
        "FROM base\nRUN --mount=type=ssh,uid=5 --mount=type=ssh,target=/root-only "
        "printf '\\0\\0\\0\\1\\13' > /tmp/ask && chmod 755 /tmp && "
        "nc -h 2>&1 | grep -q local: || true; stat -c '%u %a %F' $SSH_AUTH_SOCK /root-only\n",
    )
    done = cais("build", "--progress=plain", "--ssh", f"default={tmp_path}/key", str(context))
    assert "5 600 socket" in done.stderr + done.stdout and "0 600 socket" in done.stderr + done.stdout
    assert holding(cais.root, private) == []
    assert [name for name in os.listdir("/tmp") if name.startswith("cais-agent.")] == []


def test_the_agent_of_a_killed_build_ends_with_it(cais_with_base, tmp_path):
    if not shutil.which("ssh-keygen") or not shutil.which("ssh-agent"):
        pytest.skip("needs openssh-client")
    cais = cais_with_base
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    prepared = cais.context("prepared", "FROM base\nRUN --mount=type=cache,target=/c mkfifo /c/ready\n")
    cais("build", "-q", str(prepared))
    (name,) = cais("volume", "ls", "-q", "--filter", "kind=cache").stdout.split()
    place = cais("volume", "inspect", "-f", "{{.Mountpoint}}", name).stdout.strip()
    context = cais.context(
        "context", "FROM base\nRUN --mount=type=ssh --mount=type=cache,target=/c echo x > /c/ready; sleep 300\n"
    )

    def directories() -> set[str]:
        return {name for name in os.listdir("/tmp") if name.startswith("cais-agent.")}

    before = directories()
    process = cais.start("build", "-q", "--ssh", f"default={tmp_path}/key", str(context))
    wait_for(f"{place}/ready")
    (own,) = directories() - before
    agents = subprocess.run(["pgrep", "-f", own], check=True, capture_output=True, text=True).stdout.split()
    assert agents
    process.kill()
    process.wait()
    wait_until(lambda: own not in directories() and not any(os.path.exists(f"/proc/{pid}") for pid in agents), 5)
    cais.assert_sound()
