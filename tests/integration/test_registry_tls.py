"""A registry with TLS: certificates that change while it serves, and clients that need one."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("uvicorn", reason="cais[registry] is not installed")

from cais.errors import CaisError
from cais.registry.tls import Certificates
from certificates import Authority, Pair
from registry_process import RegistryProcess, digest_of, registry_process

_PATIENCE_SECONDS = 20


def tls(pair: Pair, client_ca: Path | None = None) -> list[str]:
    words = ["--tls-certificate", str(pair.certificate), "--tls-key", str(pair.key)]
    return words if client_ca is None else [*words, "--set", f"tls.client_ca={client_ca}"]


def trusting(authority: Authority, client: Pair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if client is not None:
        context.load_cert_chain(client.certificate, client.key)
    return context


def connect(server: RegistryProcess, context: ssl.SSLContext) -> http.client.HTTPSConnection:
    connection = http.client.HTTPSConnection(server.address, timeout=30, context=context)
    connection.connect()
    return connection


def shown_name(server: RegistryProcess, context: ssl.SSLContext) -> str:
    """The common name of the certificate that a new connection is shown."""
    connection = connect(server, context)
    certificate = connection.sock.getpeercert()
    connection.close()
    return dict(part for line in certificate["subject"] for part in line)["commonName"]


def replace(pair: Pair, other: Pair) -> None:
    """The key first, then the certificate, as tools do that know nothing of each other."""
    for old, new in ((pair.key, other.key), (pair.certificate, other.certificate)):
        shutil.copy(new, f"{old}.new")
        os.replace(f"{old}.new", old)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.pair("first")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[RegistryProcess]:
    with registry_process(tmp_path_factory.mktemp("registry"), "--workers", "2", *tls(pair)) as process:
        yield process


def test_blobs_go_both_ways(server: RegistryProcess, authority: Authority) -> None:
    """There is no sendfile through TLS: another way is taken, and the bytes are the same."""
    data = os.urandom(5 << 20)
    digest = digest_of(data)
    connection = connect(server, trusting(authority))
    began = server.request("POST", "/v2/a/b/blobs/uploads/", connection=connection)
    done = server.request("PUT", f"{began.headers['location']}?digest={digest}", data, connection=connection)
    assert done.status == 201
    assert server.request("GET", f"/v2/a/b/blobs/{digest}", connection=connection).body == data
    part = server.request(
        "GET", f"/v2/a/b/blobs/{digest}", headers={"Range": "bytes=100-2000000"}, connection=connection
    )
    assert part.body == data[100:2_000_001]
    connection.close()
    unencrypted = http.client.HTTPConnection(server.address, timeout=30)
    with pytest.raises((http.client.HTTPException, ConnectionError)):
        unencrypted.request("GET", "/v2/")
        unencrypted.getresponse()


def test_old_versions_of_tls_are_refused(server: RegistryProcess) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    host, port = server.address.split(":")
    with (
        socket.create_connection((host, int(port)), timeout=30) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain)


@pytest.mark.parametrize("asked", [True, False], ids=["SIGHUP", "file changed"])
def test_a_new_certificate_drops_no_connection(
    server: RegistryProcess, authority: Authority, pair: Pair, asked: bool
) -> None:
    context = trusting(authority)
    standing = connect(server, context)
    assert server.request("GET", "/v2/", connection=standing).status == 200
    name = f"renewed-{asked}"
    before = shown_name(server, context)
    replace(pair, authority.pair(name))
    if asked:
        server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    # Both workers: ten new connections in a row.
    while {shown_name(server, context) for _ in range(10)} != {name}:
        assert time.monotonic() < deadline, server.log()
    assert before != name
    assert server.request("GET", "/v2/", connection=standing).status == 200
    standing.close()


def test_a_certificate_that_cannot_be_used_changes_nothing(
    server: RegistryProcess, authority: Authority, pair: Pair
) -> None:
    context = trusting(authority)
    before = shown_name(server, context)
    kept = pair.certificate.read_bytes()
    pair.certificate.write_bytes(authority.pair("of-another-key").certificate.read_bytes())
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while "the old certificate is kept" not in server.log():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert {shown_name(server, context) for _ in range(5)} == {before}
    pair.certificate.write_bytes(kept)


def test_clients_that_need_a_certificate(tmp_path: Path, authority: Authority) -> None:
    clients, strangers = Authority(tmp_path, "clients"), Authority(tmp_path, "strangers")
    client, stranger = clients.pair("client"), strangers.pair("stranger")
    accepted = tmp_path / "accepted.crt"
    accepted.write_bytes(clients.certificate.read_bytes())

    def answers(pair: Pair | None) -> bool:
        try:
            connection = connect(server, trusting(authority, pair))
            return server.request("GET", "/v2/", connection=connection).status == 200
        except (ssl.SSLError, ConnectionError):
            return False

    with registry_process(tmp_path / "root", "--workers", "1", *tls(authority.pair("server"), accepted)) as server:
        assert answers(client)
        assert not answers(None) and not answers(stranger)
        accepted.write_bytes(strangers.certificate.read_bytes())
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not answers(stranger):
            assert time.monotonic() < deadline, server.log()
        assert not answers(client), "an authority that was taken away is not believed any more"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("missing", "missing.crt"), ("no certificate", "cannot be used for TLS"),
        ("another key", "KEY_VALUES_MISMATCH"), ("encrypted", "is encrypted"),
        ("no authority", "cannot be used for TLS"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_said_at_the_start(
    tmp_path: Path, authority: Authority, pair: Pair, wrong: str, message: str
) -> None:
    certificate, key, client_ca = str(pair.certificate), str(pair.key), ""
    (tmp_path / "text").write_text("no certificate\n")
    if wrong == "missing":
        certificate = str(tmp_path / "missing.crt")
    elif wrong == "no certificate":
        certificate = str(tmp_path / "text")
    elif wrong == "another key":
        key = str(authority.pair("other").key)
    elif wrong == "encrypted":
        locked = tmp_path / "locked.key"
        words = ["-aes256", "-passout", "pass:secret", "-out", locked]
        subprocess.run(["openssl", "pkey", "-in", key, *words], check=True)
        key = str(locked)
    else:
        client_ca = str(tmp_path / "text")
    with pytest.raises(CaisError, match=message):
        Certificates(certificate, key, client_ca)
