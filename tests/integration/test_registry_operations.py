"""A registry as its operator sees it: probes, metrics, the access log, and the way it stops."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="cais[registry] is not installed")

from registry_process import SOURCE, digest_of, registry_process

_PATIENCE_SECONDS = 20


def lines_of(log: Path, count: int) -> list[dict[str, object]]:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while len(lines := log.read_text().splitlines() if log.exists() else []) < count:
        assert time.monotonic() < deadline, lines
        time.sleep(0.01)
    return [json.loads(line) for line in lines]


def test_probes_metrics_and_the_log_of_several_workers(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with registry_process(
        tmp_path / "root", "--workers", "3", "--set", f"log.access={log}", "--set", "metrics.path=/metrics"
    ) as server:
        assert server.request("GET", "/healthz").json == {"status": "alive"}
        assert server.request("GET", "/readyz").json == {"status": "ready"}
        blob = os.urandom(1 << 20)
        server.push_image("library/app", "1", blob)
        for _ in range(20):
            assert server.request("GET", f"/v2/library/app/blobs/{digest_of(blob)}").body == blob
        deadline = time.monotonic() + _PATIENCE_SECONDS
        wanted = 'cais_registry_sent_bytes_total{method="GET",route="blob",status="200"} 2.097152e+07'
        while wanted not in server.request("GET", "/metrics").body.decode():
            assert time.monotonic() < deadline, server.request("GET", "/metrics").body.decode()
            time.sleep(0.05)
        downloads = [line for line in lines_of(log, 25) if line["sent"] == 1 << 20]
        assert len(downloads) == 20 and not any("broken" in line for line in downloads)
        assert len({line["id"] for line in lines_of(log, 25)}) == len(lines_of(log, 25))
        assert server.request("GET", "/v2/", headers={"X-Request-Id": "mine"}).headers["x-request-id"] == "mine"
        assert server.stop() == 0
        assert server.log() == ""


def test_not_ready_where_blobs_cannot_be_stored(tmp_path: Path) -> None:
    with registry_process(tmp_path / "root", "--workers", "1", "--set", "gc.interval=0") as server:
        assert server.request("GET", "/readyz").status == 200
        (tmp_path / "root" / "uploads").rename(tmp_path / "gone")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while server.request("GET", "/readyz").status == 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        answer = server.request("GET", "/readyz")
        assert answer.json == {"status": "not ready", "failing": ["blobs"]}
        assert "not ready: blobs:" in server.log() and str(tmp_path) not in answer.body.decode()
        assert server.request("GET", "/healthz").status == 200


def test_an_upload_and_a_download_under_way_are_finished_before_it_stops(tmp_path: Path) -> None:
    data = os.urandom(8 << 20)
    with registry_process(tmp_path / "root", "--workers", "2", "--set", "stop_delay=1s") as server:
        server.push_blob("app", data)
        began = server.request("POST", "/v2/app/blobs/uploads/")
        new = os.urandom(1 << 20)
        path = f"{began.headers['location'].removeprefix(server.url)}?digest={digest_of(new)}"
        upload, download = server.connect(), server.connect()
        upload.putrequest("PUT", path)
        upload.putheader("Content-Length", str(len(new)))
        upload.endheaders()
        upload.send(new[:1000])
        download.request("GET", f"/v2/app/blobs/{digest_of(data)}")
        answer = download.getresponse()
        first = answer.read(1000)
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        seen = set()
        while True:  # at first it says that it is not ready, then it takes no connection
            assert time.monotonic() < deadline
            try:
                seen.add(server.request("GET", "/readyz").status)
            except OSError:
                break
        assert 503 in seen
        assert server.process.poll() is None, "it waits for what is under way"
        upload.send(new[1000:])
        assert upload.getresponse().status == 201
        assert first + answer.read() == data
        upload.close()
        download.close()
        assert server.process.wait(_PATIENCE_SECONDS) == 0
    with registry_process(tmp_path / "root", "--workers", "1") as server:
        assert server.request("GET", f"/v2/app/blobs/{digest_of(new)}").body == new


def test_who_never_ends_is_waited_for_no_longer_than_set(tmp_path: Path) -> None:
    with registry_process(tmp_path / "root", "--workers", "1", "--set", "stop_timeout=1s") as server:
        host, _, port = server.address.rpartition(":")
        stuck = socket.create_connection((host, int(port)))
        stuck.sendall(b"POST /v2/app/blobs/uploads/?digest=sha256:" + b"0" * 64 + b" HTTP/1.1\r\nHost: x\r\n")
        stuck.sendall(b"Content-Length: 100000\r\n\r\n12345")
        assert server.request("GET", "/healthz").status == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(_PATIENCE_SECONDS) == 0
        stuck.close()


def test_a_reader_of_the_log_that_sleeps_stops_nobody(tmp_path: Path) -> None:
    """Standard output is a pipe here, and nobody reads it behind the first line."""
    settings = ["--set", "metrics.path=/metrics", "--set", "log.access=-"]
    with registry_process(tmp_path / "root", "--workers", "1", *settings) as server:
        connection = server.connect()
        for number in range(1000):
            assert server.request("GET", "/v2/", connection=connection, headers={"User-Agent": "x" * 150}).status == 200
            assert threading.active_count() < 100, number
        text = server.request("GET", "/metrics").body.decode()
        (lost,) = [line for line in text.splitlines() if line.startswith("cais_registry_log_lines_lost_total ")]
        assert float(lost.split()[1]) > 100


def test_it_collects_while_it_serves(tmp_path: Path) -> None:
    root = tmp_path / "root"
    fast = ["--set", "gc.interval=1s", "--set", "gc.grace=0s", "--set", "gc.untagged_after=1s"]
    with registry_process(root, "--workers", "1", *fast, "--set", "metrics.listen=127.0.0.1:0") as server:
        kept, gone = os.urandom(1000), os.urandom(1000)
        server.push_blob("app", gone)
        for _ in range(20):  # with no grace at all a push may have to begin again
            server.push_blob("app", kept)
            try:
                server.push_image("app", "1", kept)
                break
            except AssertionError:
                continue
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(list(root.glob("blobs/*/*/*"))) > 2:
            assert time.monotonic() < deadline, list(root.glob("blobs/*/*/*"))
            time.sleep(0.05)
        assert server.request("GET", f"/v2/app/blobs/{digest_of(kept)}").body == kept
        assert server.request("GET", f"/v2/app/blobs/{digest_of(gone)}").status == 404


def test_metrics_on_an_address_of_their_own(tmp_path: Path) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{found.getsockname()[1]}"
    settings = ["--set", f"metrics.listen={address}", "--set", "gc.interval=1s"]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)}
    with registry_process(tmp_path / "root", "--workers", "2", *settings, environment=environment) as server:
        assert server.request("GET", "/metrics").status == 404
        server.push_blob("app", b"data")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        text = ""
        while 'route="upload"' not in text or "cais_registry_gc_runs_total 0.0" in text:
            assert time.monotonic() < deadline, text
            metrics = http.client.HTTPConnection(address, timeout=10)
            metrics.request("GET", "/metrics")
            text = metrics.getresponse().read().decode()
            metrics.close()
        server.process.kill()  # the others end with it
        server.process.wait()
        while True:
            assert time.monotonic() < deadline
            try:
                socket.create_connection((address.split(":")[0], int(address.split(":")[1]))).close()
            except OSError:
                break
        while list(temporary.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_gc_by_hand_beside_a_registry_that_serves(tmp_path: Path) -> None:
    root = tmp_path / "root"
    quiet = ["--set", "gc.interval=0"]
    with registry_process(root, "--workers", "1", *quiet) as server:
        server.push_image("app", "1", b"kept")
        server.push_blob("app", b"given up")
        assert cais("registry", "gc", "--root", str(root), "--dry-run").splitlines() == [
            "Would remove 0 manifests, 0 blobs of repositories (0 nowhere else), 0 uploads, 0 strays",
            "Would free: 0B",
            "Manifests without a tag are kept: gc.untagged_after is 0.",
        ]
        assert "Would remove 0 manifests, 1 blobs of repositories (1 nowhere else)" in cais(
            "registry", "gc", "--root", str(root), "--dry-run", "--grace", "0"
        )
        assert server.request("HEAD", f"/v2/app/blobs/{digest_of(b'given up')}").status == 200
        assert cais("registry", "gc", "--root", str(root), "--grace", "0").splitlines() == [
            "Removed 0 manifests, 1 blobs of repositories (1 nowhere else), 0 uploads, 0 strays",
            "Freed: 8B",
        ]
        assert server.request("HEAD", f"/v2/app/blobs/{digest_of(b'given up')}").status == 404
        assert server.request("GET", f"/v2/app/blobs/{digest_of(b'kept')}").body == b"kept"
        assert len(list(root.glob("blobs/*/*/*"))) == 2


def cais(*words: str) -> str:
    """What a command prints."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-m", "cais", *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(*words: str) -> str:
    """What a command says that fails."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-m", "cais", *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout
    return done.stderr


def test_no_registry_is_not_one_where_all_is_well(tmp_path: Path) -> None:
    """A directory that was mistyped: nothing is made there."""
    wrong, backup = str(tmp_path / "wrong"), str(tmp_path / "backup")
    for words in (["check"], ["gc", "--dry-run"], ["backup", backup], ["user", "ls"]):
        assert refused("registry", *words, "--root", wrong).startswith(f"Error: there is no registry in {wrong}\n")
    assert os.listdir(tmp_path) == []


def test_a_backup_with_users_is_restored_by_settings_that_name_an_administrator(tmp_path: Path) -> None:
    """As those of replicas do, by which one moves there."""
    first, second, backup = (str(tmp_path / name) for name in ("first", "second", "backup"))
    settings = tmp_path / "registry.toml"
    settings.write_text(f'root = "{first}"\n[access]\nadmin = "root"\nadmin_password = "a long password"\n')
    with registry_process(tmp_path / "first", "--config", str(settings), anonymous=""):
        cais("registry", "organisation", "add", "--root", first, "acme")
    cais("registry", "backup", "--root", first, backup)
    restore = ["registry", "restore", "--config", str(settings), "--root", second, backup]
    assert cais(*restore).startswith("Restored ")
    assert cais("registry", "user", "ls", "--root", second) == cais("registry", "user", "ls", "--root", first)
    assert refused(*restore).startswith("Error: the registry is not empty: it has accounts\n")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (f"listen={'x' * 64}:5000", f"Error: cannot listen on {'x' * 64}:5000: no such host\n"),
        (
            "proxies=10.0.0.5/8",
            "Error: --set: the value '10.0.0.5/8' of proxies is not a list of addresses and networks",
        ),
        ("tls.certificate=JUNK", "JUNK cannot be used for TLS: no certificate, or no key, in PEM\n"),
    ],
)
def test_what_is_wrong_with_a_setting_is_said(tmp_path: Path, setting: str, said: str) -> None:
    (tmp_path / "junk").write_text("junk")
    words = [text.replace("JUNK", str(tmp_path / "junk")) for text in (setting, said)]
    assert words[1] in refused("registry", "serve", "--root", str(tmp_path / "root"), "--set", words[0])
