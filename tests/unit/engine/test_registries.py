"""The wiring of what is remote: settings that a user writes, with real registries behind them."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from cais.engine import Engine, Settings
from cais.engine.registries import Registries
from cais.errors import CaisError, Denied, Invalid, NotFound, Unauthorized, Unavailable
from cais.remote.credentials import Login
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Manifest
from cais.spec.reference import Reference
from http_server import Request, serving
from registry_servers import PASSWORD, USER, Server, docker_registry, free_port


class Home:
    """A user's settings, and nothing of the system's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config = directory / ".config" / "cais"
        self.config.mkdir(parents=True)

    def registries(self, **environment: str) -> Registries:
        environment = {"HOME": str(self.directory), "PATH": os.environ["PATH"], **environment}
        return Registries(environment, system=())

    def rules(self, text: str) -> Registries:
        (self.config / "registries.toml").write_text(text)
        return self.registries()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def pushed(registries: Registries, name: str, layer: bytes = b"layer") -> Descriptor:
    registry = registries.repository(Reference.parse(name), pushing=True)
    blobs = [
        Descriptor(types.OCI_CONFIG, Digest.of(b"{}"), 2),
        Descriptor(types.OCI_LAYER, Digest.of(layer), len(layer)),
    ]
    for blob, data in zip(blobs, (b"{}", layer), strict=True):
        registry.push(blob, iter([data]))
    manifest = Manifest.encode(blobs[0], blobs[1:])
    return registry.put_manifest(manifest.raw, manifest.media_type, Reference.parse(name).tag)


def layer_of(registries: Registries, name: str) -> bytes:
    registry = registries.repository(Reference.parse(name))
    document = registry.manifest(registry.resolve(Reference.parse(name).tag).digest)
    return b"".join(registry.fetch(Manifest.decode(document.raw).layers[0]))


def test_a_local_registry_serves_the_official_images(home: Home, open_registry: Server) -> None:
    pushed(home.registries(), f"{open_registry.address}/official/debian:13", b"air-gapped")
    registries = home.rules(f'[[registry]]\nprefix="docker.io/library"\nlocation="{open_registry.address}/official"\n')
    assert layer_of(registries, "debian:13") == b"air-gapped"
    assert layer_of(registries, "docker.io/library/debian:13") == b"air-gapped"


def test_mirrors_are_asked_in_their_order(home: Home, open_registry: Server) -> None:
    origin = f"{open_registry.address}/mirror/origin/app"
    pushed(home.registries(), f"{open_registry.address}/mirror/one/app:v1", b"of the first mirror")
    pushed(home.registries(), f"{open_registry.address}/mirror/two/app:v1", b"of the second mirror")
    pushed(home.registries(), f"{open_registry.address}/mirror/two/app:v2", b"only in the second mirror")
    pushed(home.registries(), f"{origin}:v3", b"only at the origin")
    registries = home.rules(
        f'[[registry]]\nprefix="{open_registry.address}/mirror/origin"\n'
        f'[[registry.mirror]]\nlocation="127.0.0.1:{free_port()}"\n'  # is not there
        f'[[registry.mirror]]\nlocation="{open_registry.address}/mirror/one"\n'
        f'[[registry.mirror]]\nlocation="{open_registry.address}/mirror/two"\n'
    )
    assert layer_of(registries, f"{origin}:v1") == b"of the first mirror"
    assert layer_of(registries, f"{origin}:v2") == b"only in the second mirror"
    assert layer_of(registries, f"{origin}:v3") == b"only at the origin"
    with pytest.raises(NotFound):
        layer_of(registries, f"{origin}:v4")
    pushed(registries, f"{origin}:v5", b"pushed to the origin")
    assert layer_of(home.rules(""), f"{origin}:v5") == b"pushed to the origin"


def test_where_a_mirror_breaks_off_the_next_goes_on(home: Home, open_registry: Server) -> None:
    layer = os.urandom(200_000)
    origin = f"{open_registry.address}/breaking/app:v1"
    target = pushed(home.registries(), origin, layer)
    document = home.registries().repository(Reference.parse(origin)).manifest("v1")
    starts: list[str | None] = []

    def mirror(request: Request) -> None:
        if "/manifests/" in request.path:
            request.reply(document.raw, Content_Type=target.media_type, Docker_Content_Digest=target.digest)
            return
        starts.append(request.headers.get("Range"))
        if len(starts) > 1:
            request.reply(status=404)
            return
        request.send_response(200)
        request.send_header("Content-Length", str(len(layer)))
        request.end_headers()
        request.wfile.write(layer[:70_000])

    with serving(mirror) as server:
        registries = home.rules(
            f'[[registry]]\nprefix="{open_registry.address}"\n'
            f'[[registry.mirror]]\nlocation="{server.url.removeprefix("http://")}"\n'
        )
        before = len(open_registry.requests())
        assert layer_of(registries, origin) == layer
    assert starts == [None, "bytes=70000-"]
    assert len([line for line in open_registry.requests()[before:] if "/blobs/" in line]) == 1


def test_what_is_blocked_is_not_asked(home: Home, open_registry: Server) -> None:
    registries = home.rules(f'[[registry]]\nprefix="{open_registry.address}/blocked"\nblocked=true\n')
    before = open_registry.requests()
    with pytest.raises(Denied):
        layer_of(registries, f"{open_registry.address}/blocked/x:v1")
    assert open_registry.requests() == before


def test_a_file_that_cannot_be_understood(home: Home) -> None:
    with pytest.raises(Invalid, match=r"registries\.toml"):
        home.rules("nonsense").repository(Reference.parse("x"))


def test_login_is_checked_and_used(home: Home, private_registry: Server) -> None:
    registries = home.registries()
    with pytest.raises(Unauthorized):
        registries.check(private_registry.address, Login(USER, "wrong"))
    registries.check(private_registry.address, Login(USER, PASSWORD))
    registries.credentials.store(private_registry.address, Login(USER, PASSWORD))
    pushed(home.registries(), f"{private_registry.address}/login/app:v1", b"private")
    assert layer_of(home.registries(), f"{private_registry.address}/login/app:v1") == b"private"
    elsewhere = {"DOCKER_CONFIG": str(home.directory / "elsewhere")}
    with pytest.raises(Unauthorized):
        layer_of(home.registries(**elsewhere), f"{private_registry.address}/login/app:v1")
    text = (home.directory / ".docker" / "config.json").read_text()
    assert layer_of(home.registries(**elsewhere, DOCKER_AUTH_CONFIG=text), f"{private_registry.address}/login/app:v1")


def test_an_identity_token_is_kept_rather_than_the_password(home: Home) -> None:
    def tokens(request: Request) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        asked.append((request.command, parse_qs(request.rfile.read(length).decode() or urlsplit(request.path).query)))
        request.reply(b'{"token": "good", "refresh_token": "identity"}')

    def answer(request: Request) -> None:
        if request.headers.get("Authorization") == "Bearer good":
            request.reply()
        else:
            request.reply(status=401, WWW_Authenticate=f'Bearer realm="{server.url}/token",service="test"')

    asked: list[tuple[str, dict[str, list[str]]]] = []
    with serving(tokens) as server, serving(answer) as there:
        address = there.url.removeprefix("http://")
        assert home.registries().check(address, Login("ada", "password")) == Login("ada", identity_token="identity")
        home.registries().credentials.store(address, Login("ada", identity_token="identity"))
        home.registries().transport(address).ping()
    assert [command for command, _ in asked] == ["GET", "POST"]
    assert asked[0][1]["offline_token"] == ["true"]
    assert asked[1][1]["refresh_token"] == ["identity"]


def test_by_a_proxy(home: Home) -> None:
    """It is asked for the registry by its name; its own credentials are in no message."""

    def answer(request: Request) -> None:
        if request.command == "CONNECT":
            request.reply(status=403)
        else:
            request.reply(b"{}", Content_Type=types.OCI_MANIFEST)

    (home.config / "registries.toml").write_text('[[registry]]\nprefix="plain.test:5000"\ninsecure=true\n')
    with serving(answer) as proxy:
        address = proxy.url.removeprefix("http://")
        registries = home.registries(http_proxy=f"http://ada:secret@{address}", HTTPS_PROXY=proxy.url)
        registries.repository(Reference.parse("plain.test:5000/x")).manifest("v1")
        assert [request.path for request in proxy.seen if request.command == "GET"] == [
            "http://plain.test:5000/v2/x/manifests/v1"
        ]
        assert proxy.seen[-1].headers["Proxy-Authorization"].startswith("Basic ")
        with pytest.raises(Unavailable) as raised:
            registries.repository(Reference.parse("secure.test/x")).manifest("v1")
        assert "secret" not in raised.value.message
    registries = home.registries(http_proxy=f"http://ada:secret@127.0.0.1:{free_port()}", no_proxy="other.test")
    with pytest.raises(Unavailable) as raised:
        registries.repository(Reference.parse("plain.test:5000/x")).manifest("v1")
    assert "secret" not in raised.value.message


def test_a_registry_elsewhere_does_not_lead_to_this_machine(home: Home) -> None:
    """Neither by a redirect nor by where it wants an upload, nor by the next page of a list."""

    def answer(request: Request) -> None:
        if request.command == "CONNECT":
            request.reply(status=403)
        elif request.command == "POST":
            request.reply(status=202, Location=inner.url + "/upload")
        elif "/tags/" in request.path:
            request.reply(b'{"tags": ["a"]}', Link=f'<{inner.url}/next>; rel="next"')
        else:
            request.reply(status=307, Location=inner.url + "/data")

    blob = Descriptor(types.OCI_LAYER, Digest.of(b"data"), 4)
    (home.config / "registries.toml").write_text('[[registry]]\nprefix="plain.test:5000"\ninsecure=true\n')
    with serving(answer) as proxy, serving(lambda request: request.reply(b"data", status=201)) as inner:
        registries = home.registries(http_proxy=proxy.url, https_proxy=proxy.url)
        registry = registries.repository(Reference.parse("plain.test:5000/x"), pushing=True)
        for ask in (
            lambda: list(registry.fetch(blob)),
            lambda: registry.push(blob, iter([b"data"])),
            lambda: list(registry.tags()),
        ):
            with pytest.raises(Denied, match="leads to this machine"):
                ask()
        assert inner.seen == []


# TLS


class Authority:
    """A certificate authority that signs what a test asks for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.crt",
                  "-subj", "/CN=test authority", "-days", "2")  # fmt: skip

    def sign(self, name: str, alternative: str) -> tuple[Path, Path]:
        (self.directory / f"{name}.ext").write_text(f"subjectAltName={alternative}\n")
        self._run("req", "-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj",
                  f"/CN={name}")  # fmt: skip
        self._run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-out",
                  f"{name}.crt", "-days", "2", "-extfile", f"{name}.ext")  # fmt: skip
        return self.directory / f"{name}.crt", self.directory / f"{name}.key"

    def _run(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl (package openssl)")
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def tls_registry(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Server]:
    """Wants a client certificate of the same authority."""
    certificate, key = authority.sign("server", "IP:127.0.0.1,DNS:localhost")
    settings = {
        "REGISTRY_HTTP_TLS_CERTIFICATE": str(certificate),
        "REGISTRY_HTTP_TLS_KEY": str(key),
        "REGISTRY_HTTP_TLS_CLIENTCAS": f"[{authority.directory / 'ca.crt'}]",
    }
    with docker_registry(tmp_path_factory.mktemp("tls-registry"), **settings) as server:
        yield server


def test_an_own_authority_and_a_client_certificate(home: Home, authority: Authority, tls_registry: Server) -> None:
    name = f"{tls_registry.address}/tls/app:v1"
    place = home.config / "certs.d" / tls_registry.address
    place.mkdir(parents=True)
    with pytest.raises(Unavailable, match="failed to verify certificate") as raised:
        pushed(home.registries(), name)
    assert tls_registry.address in raised.value.hint
    (place / "ca.crt").write_bytes((authority.directory / "ca.crt").read_bytes())
    with pytest.raises(CaisError):  # it wants to know who we are
        pushed(home.registries(), name)
    certificate, key = authority.sign("client", "DNS:client")
    (place / "client.cert").write_bytes(certificate.read_bytes())
    with pytest.raises(Invalid, match=r"missing key client\.key for client certificate client\.cert"):
        pushed(home.registries(), name)
    (place / "client.key").write_bytes(key.read_bytes())
    pushed(home.registries(), name, b"over TLS")
    assert layer_of(home.registries(), name) == b"over TLS"
    (place / "other.crt").write_text("no certificate")
    with pytest.raises(Invalid, match=r"other\.crt"):
        layer_of(home.registries(), name)


def test_another_host_than_the_certificates(home: Home, authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.sign("elsewhere", "DNS:elsewhere.test")
    settings = {"REGISTRY_HTTP_TLS_CERTIFICATE": str(certificate), "REGISTRY_HTTP_TLS_KEY": str(key)}
    with docker_registry(tmp_path / "registry", **settings) as server:
        place = home.config / "certs.d" / server.address
        place.mkdir(parents=True)
        (place / "ca.crt").write_bytes((authority.directory / "ca.crt").read_bytes())
        with pytest.raises(Unavailable, match="failed to verify certificate: IP address mismatch"):
            pushed(home.registries(), f"{server.address}/x:v1")
        registries = home.rules(f'[[registry]]\nprefix="{server.address}"\ninsecure=true\n')
        pushed(registries, f"{server.address}/x:v1", b"whoever it is")
        assert layer_of(registries, f"{server.address}/x:v1") == b"whoever it is"


def test_what_is_blocked_is_not_searched_either(home: Home) -> None:
    """Nor is anybody told to log in there."""
    registries = home.rules(
        '[[registry]]\nprefix="docker.io"\nblocked=true\n[[registry]]\nprefix="reg.test/team"\nblocked=true\n'
    )
    with pytest.raises(Denied, match=r"^docker\.io is blocked by .*registries\.toml$"):
        registries.search("docker.io", "debian")
    with pytest.raises(Unavailable):  # of that one a part is
        registries.search("reg.test", "team")
    with Engine(Settings(str(home.directory / "root"), driver="copies"), {"HOME": str(home.directory)}) as engine:
        for name in ("debian", "reg.test/team/app"):
            with pytest.raises(Denied, match=r"^\S+ is blocked by \S+$"):
                engine.images.pull(name)
