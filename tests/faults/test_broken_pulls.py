"""Pulls that break: killed in the middle, cut off, refused; what came is not fetched again, and no secret is left."""

from __future__ import annotations

import base64
import io
import json
import os
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cais_process import Cais
from peak_memory import measured_bytes, measuring

from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.manifest import Manifest
from http_server import Request, Server, serving

LAYER_BYTES = 8 << 20
SECRET = "hunter2-the-password"


class Image:
    """An image of one layer, as a registry answers for it."""

    def __init__(self, size_bytes: int = LAYER_BYTES) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            entry = tarfile.TarInfo("data")
            entry.size = size_bytes
            archive.addfile(entry, io.BytesIO(os.urandom(size_bytes)))
        self.layer = buffer.getvalue()
        diff_id = Digest.of(self.layer)
        config = json.dumps({
            "architecture": "amd64", "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        }).encode()  # fmt: skip
        self.blob = Descriptor(types.OCI_LAYER, diff_id, len(self.layer))
        self.manifest = Manifest.encode(Descriptor(types.OCI_CONFIG, Digest.of(config), len(config)), [self.blob])
        self.config = config

    def answer(self, request: Request, layer: Callable[[Request, int], None]) -> None:
        """``layer`` answers for the layer from a byte on."""
        if request.path.endswith(self.blob.digest):
            start = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            layer(request, start)
        elif "/manifests/" in request.path:
            digest = self.manifest.digest
            request.reply(self.manifest.raw, Content_Type=types.OCI_MANIFEST, Docker_Content_Digest=digest)
        else:
            request.reply(self.config)

    def begin(self, request: Request, start: int) -> None:
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.layer) - 1}/{len(self.layer)}")
        request.send_header("Content-Length", str(len(self.layer) - start))
        request.end_headers()

    def whole(self, request: Request, start: int) -> None:
        self.begin(request, start)
        request.wfile.write(self.layer[start:])


@pytest.fixture
def cais(tmp_path: Path) -> Cais:
    cais = Cais(tmp_path)
    cais.environment |= {"HOME": str(tmp_path), "DOCKER_CONFIG": str(tmp_path / "docker")}
    return cais


def kept_bytes(cais: Cais) -> int:
    directory = cais.root / "content" / "kept"
    return sum(path.stat().st_size for path in directory.iterdir()) if directory.is_dir() else 0


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_killed_pull_is_gone_on_with(cais: Cais) -> None:
    image, half, starts = Image(), LAYER_BYTES // 2, []

    def stalls(request: Request, start: int) -> None:
        starts.append(start)
        if len(starts) > 1:
            image.whole(request, start)
            return
        image.begin(request, start)
        request.wfile.write(image.layer[:half])
        request.wfile.flush()
        request.server.stopped.wait(60)

    with serving(lambda request: image.answer(request, stalls)) as server:
        name = f"{server.url.removeprefix('http://')}/x:1"
        process = cais.start("pull", name)
        wait_until(lambda: kept_bytes(cais) == half)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert cais("images", "-q").stdout == ""
        cais("pull", name)
    assert starts == [0, half]
    assert cais("images", "-q").stdout
    assert kept_bytes(cais) == 0
    assert cais("system", "check").returncode == 0


def test_what_was_received_wrong_before_is_fetched_again(cais: Cais) -> None:
    image, half, starts = Image(), LAYER_BYTES // 2, []

    def lies(request: Request, start: int) -> None:
        starts.append(start)
        if len(starts) > 1:
            image.whole(request, start)
            return
        image.begin(request, start)
        request.wfile.write(b"\0" * half)
        request.wfile.flush()
        request.server.stopped.wait(60)

    with serving(lambda request: image.answer(request, lies)) as server:
        name = f"{server.url.removeprefix('http://')}/x:1"
        process = cais.start("pull", name)
        wait_until(lambda: kept_bytes(cais) == half)
        process.send_signal(signal.SIGKILL)
        process.wait()
        cais("pull", name)
    assert starts == [0, half, 0]


def test_a_layer_that_is_not_its_digest_leaves_nothing(cais: Cais) -> None:
    image = Image(1 << 20)

    def lies(request: Request, start: int) -> None:
        image.begin(request, start)
        request.wfile.write(bytes(len(image.layer) - start))

    with serving(lambda request: image.answer(request, lies)) as server:
        done = cais("pull", f"{server.url.removeprefix('http://')}/x:1", check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert image.blob.digest in done.stderr
    assert cais("images", "-q").stdout == ""
    assert kept_bytes(cais) == 0


def test_interrupting_a_pull_ends_it(cais: Cais) -> None:
    image = Image(1 << 20)

    def stalls(request: Request, start: int) -> None:
        image.begin(request, start)
        request.wfile.write(image.layer[: 1 << 19])
        request.wfile.flush()
        request.server.stopped.wait(60)

    with serving(lambda request: image.answer(request, stalls)) as server:
        process = cais.start("pull", f"{server.url.removeprefix('http://')}/x:1")
        wait_until(lambda: kept_bytes(cais) == 1 << 19)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130


def test_secrets_are_in_no_message_and_no_file(cais: Cais) -> None:
    """Of a registry that lets us in and then fails in all ways."""
    (cais.directory / "docker").mkdir()
    basic = base64.b64encode(f"ada:{SECRET}".encode()).decode()

    for status in (400, 401, 403, 404, 500):

        def answer(request: Request, status: int = status) -> None:
            if "Authorization" not in request.headers:
                request.reply(status=401, WWW_Authenticate='Basic realm="x"')
            else:
                echoed = json.dumps({"errors": [{"code": "DENIED", "message": "you may not"}]}).encode()
                request.reply(echoed, status=status, Retry_After="0")

        with serving(answer) as server:
            address = server.url.removeprefix("http://")
            (cais.directory / "docker" / "config.json").write_text(json.dumps({"auths": {address: {"auth": basic}}}))
            done = cais("--debug", "pull", f"{address}/x:1", check=False)
            assert done.returncode == 1
            sent = [request.headers.get("Authorization") for request in server.seen]
            assert f"Basic {basic}" in sent
        for secret in (SECRET, basic):
            assert secret not in done.stdout + done.stderr
            for path in cais.root.rglob("*"):
                assert not path.is_file() or secret.encode() not in path.read_bytes()


def test_a_large_layer_takes_little_memory(cais: Cais) -> None:
    image = Image(110 << 20)
    with serving(lambda request: image.answer(request, image.whole)) as server:
        report = str(cais.directory / "peak")
        command = measuring(cais.command("pull", f"{server.url.removeprefix('http://')}/x:1"), report)
        subprocess.run(command, env=cais.environment, check=True, capture_output=True)
    assert measured_bytes(report) < 100 << 20


# Mirrors that give something else


def with_mirror(cais: Cais, origin: Server, mirror: Server) -> str:
    """The name of the image at ``origin``, of which there is a mirror."""
    rules = Path(cais.environment["HOME"]) / ".config" / "cais" / "registries.toml"
    rules.parent.mkdir(parents=True, exist_ok=True)
    rules.write_text(
        f'[[registry]]\nprefix = "{address(origin)}"\n[[registry.mirror]]\nlocation = "{address(mirror)}"\n'
    )
    return f"{address(origin)}/x:1"


def address(server: Server) -> str:
    return server.url.removeprefix("http://")


def other_bytes(image: Image) -> bytes:
    return bytes(len(image.layer))


def other_tar(image: Image) -> bytes:
    """A layer that can be unpacked as far as it goes, with other content."""
    return (
        image.layer[: len(image.layer) // 2] + bytes(len(image.layer) // 4) + image.layer[len(image.layer) * 3 // 4 :]
    )


def no_tar_at_all(image: Image) -> bytes:
    return b"x" * len(image.layer)


def more_bytes(image: Image) -> bytes:
    return image.layer + b"more"


LIES = (other_bytes, other_tar, no_tar_at_all, more_bytes)


def lying_with(image: Image, layer: bytes) -> Callable[[Request], None]:
    def lies(request: Request, start: int) -> None:
        request.reply(
            layer[start:], 206 if start else 200, Content_Range=f"bytes {start}-{len(layer) - 1}/{len(layer)}"
        )

    return lambda request: image.answer(request, lies)


@pytest.mark.parametrize("lie", LIES)
def test_a_layer_that_a_mirror_has_wrong_comes_from_the_registry_itself(
    cais: Cais, lie: Callable[[Image], bytes]
) -> None:
    image, starts = Image(1 << 20), []

    def whole(request: Request, start: int) -> None:
        starts.append(start)
        image.whole(request, start)

    with (
        serving(lying_with(image, lie(image))) as mirror,
        serving(lambda request: image.answer(request, whole)) as origin,
    ):
        result = cais("pull", with_mirror(cais, origin, mirror))
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("this mirror is asked for nothing more") == 1
    assert f"{address(mirror)}:" in result.stderr
    assert len(starts) == 1
    assert kept_bytes(cais) == 0
    assert cais("images", "-q").stdout
    assert cais("system", "check").returncode == 0


@pytest.mark.parametrize("what", ["manifest", "config"])
def test_a_document_that_a_mirror_has_wrong_comes_from_the_registry_itself(cais: Cais, what: str) -> None:
    image = Image(1000)

    def lies(request: Request) -> None:
        if what == "manifest" and "/manifests/" in request.path and request.command == "GET":
            request.reply(image.manifest.raw.replace(b"layers", b"Layers"), Content_Type=types.OCI_MANIFEST)
        elif what == "config" and request.path.endswith(image.manifest.config.digest):
            request.reply(b" " * len(image.config))
        else:
            image.answer(request, image.whole)

    with serving(lies) as mirror, serving(lambda request: image.answer(request, image.whole)) as origin:
        name = with_mirror(cais, origin, mirror)
        for command in (("pull", name), ("image", "inspect", "--remote", name)):
            result = cais(*command)
            assert result.returncode == 0, result.stderr
            assert result.stderr.count("this mirror is asked for nothing more") == 1


def test_what_is_wrong_at_the_registry_itself_is_an_error(cais: Cais) -> None:
    image = Image(1000)
    lies = lying_with(image, other_bytes(image))
    with serving(lies) as mirror, serving(lies) as origin:
        result = cais("pull", with_mirror(cais, origin, mirror), check=False)
    assert result.returncode == 1
    assert image.blob.digest in result.stderr
    assert cais("images", "-q").stdout == ""
    assert kept_bytes(cais) == 0


def test_a_copy_passes_over_a_mirror_that_lies_where_it_can(cais: Cais, tmp_path: Path) -> None:
    image = Image(1 << 20)
    with (
        serving(lying_with(image, other_bytes(image))) as mirror,
        serving(lambda request: image.answer(request, image.whole)) as origin,
    ):
        name = with_mirror(cais, origin, mirror)
        for target in (f"oci:{tmp_path}/layout:1", f"oci-archive:{tmp_path}/archive.tar:1"):
            result = cais("image", "copy", f"docker://{name}", target)
            assert result.stderr.count("this mirror is asked for nothing more") == 1
        with tarfile.open(tmp_path / "archive.tar") as archive:
            names = [entry.name for entry in archive]
            assert len(names) == len(set(names))
            stored = archive.extractfile(f"blobs/sha256/{image.blob.digest.hex}")
            assert stored is not None and stored.read() == image.layer
        # What a stream has been given cannot be taken back.
        os.mkfifo(tmp_path / "pipe")
        with subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.DEVNULL) as reader:
            result = cais("image", "copy", f"docker://{name}", f"oci-archive:{tmp_path}/pipe:1", check=False)
            reader.wait(60)
        assert result.returncode == 1
        assert image.blob.digest in result.stderr


@pytest.mark.parametrize("config", ["endless", "wrong"])
def test_the_config_that_says_the_platform_is_verified(cais: Cais, tmp_path: Path, config: str) -> None:
    image = Image(1000)
    size = 1 << 40 if config == "endless" else len(image.config)
    manifest = Manifest.encode(image.manifest.config._replace(size_bytes=size), [image.blob])

    def lies(request: Request) -> None:
        if "/manifests/" in request.path:
            request.reply(manifest.raw, Content_Type=types.OCI_MANIFEST, Docker_Content_Digest=manifest.digest)
        elif request.path.endswith(image.manifest.config.digest):
            request.reply(image.config.replace(b"amd64", b"arm64"))
        else:
            image.answer(request, image.whole)

    with serving(lies) as server:
        source = f"docker://{address(server)}/x:1"
        result = cais("image", "copy", "--platform", "linux/arm64", source, f"oci:{tmp_path}/layout:1", check=False)
    assert result.returncode == 1
    assert f"config {image.manifest.config.digest}" in result.stderr
