"""`cais registry serve` as a process of its own, and requests to it as a client makes them."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(__file__).parents[1] / "src"
_START_SECONDS = 60.0
_STOP_SECONDS = 30.0

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The specification's code of the first error."""
        return str(self.json["errors"][0]["code"])


class RegistryProcess:
    """``address`` is HOST:PORT; ``root`` its directory; ``log()`` what it wrote to standard error."""

    def __init__(self, process: subprocess.Popen[bytes], root: Path, address: str, errors: Any) -> None:
        self.process, self.root, self.address, self._errors = process, root, address, errors

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def connect(self, timeout: float = 60) -> http.client.HTTPConnection:
        """A connection that stays open from request to request."""
        return http.client.HTTPConnection(self.address, timeout=timeout)

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Answer:
        """``path`` as it stands, or a Location. Header names of the answer are in small letters."""
        used = connection or self.connect()
        try:
            used.request(method, path.removeprefix(self.url), body, dict(headers or {}))
            answer = used.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            if connection is None:
                used.close()

    def push_blob(self, repository: str, data: bytes) -> str:
        """The digest of a blob that is there then."""
        digest = digest_of(data)
        began = self.request("POST", f"/v2/{repository}/blobs/uploads/")
        assert began.status == 202, began
        headers = {"Content-Type": "application/octet-stream"}
        location = began.headers["location"]
        query = f"{'&' if '?' in location else '?'}digest={digest}"
        done = self.request("PUT", location + query, data, headers)
        assert done.status == 201, done
        return digest

    def push_manifest(
        self, repository: str, reference: str, document: dict[str, Any], media_type: str = OCI_MANIFEST
    ) -> str:
        """The digest of a manifest that is there then; ``reference`` "" stands for its digest."""
        data = json.dumps(document).encode()
        target = reference or digest_of(data)
        done = self.request("PUT", f"/v2/{repository}/manifests/{target}", data, {"Content-Type": media_type})
        assert done.status == 201, done
        return digest_of(data)

    def push_image(self, repository: str, tag: str, *layers: bytes, **more: Any) -> str:
        """An image of these layers, with ``more`` fields in its manifest; the manifest's digest."""
        config = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
        self.push_blob(repository, config)
        for layer in layers:
            self.push_blob(repository, layer)
        return self.push_manifest(repository, tag, image(config, *layers, **more))

    def log(self) -> str:
        self._errors.seek(0)
        return str(self._errors.read().decode(errors="replace"))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(_STOP_SECONDS)


@contextmanager
def registry_process(
    root: Path,
    *arguments: str,
    environment: Mapping[str, str] | None = None,
    anonymous: str = "write",
    by: Sequence[str] = (),
) -> Iterator[RegistryProcess]:
    """A server on ``root`` and a free port, for as long as the block lasts. ``arguments`` stand behind the others;
    ``by`` is a command that runs the rest of its line."""
    words = ["registry", "serve", "--root", str(root), "--listen", "127.0.0.1:0"]
    if anonymous:
        words += ["--anonymous", anonymous]
    # Nobody reads the log that would go to standard output: a full pipe would stop the server.
    variables = {**os.environ, "PYTHONPATH": str(SOURCE), "CAIS_REGISTRY_LOG_ACCESS": "", **(environment or {})}
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [*by, sys.executable, "-m", "cais", *words, *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=variables,
        )
        server = RegistryProcess(process, root, "", errors)
        try:
            server.address = _address(server)
            yield server
        finally:
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _address(server: RegistryProcess) -> str:
    stream = server.process.stdout
    assert stream is not None
    deadline = time.monotonic() + _START_SECONDS
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([stream], [], [], max(0.0, deadline - time.monotonic()))
        piece = os.read(stream.fileno(), 4096) if ready else b""
        if not piece:
            raise AssertionError(f"the registry has not started: {line!r} {server.log()}")
        line += piece
    return line.decode().strip().rpartition("//")[2]


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


def image(config: bytes, *layers: bytes, **more: Any) -> dict[str, Any]:
    """A manifest; ``more`` are further fields of it."""
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [descriptor(layer, "application/vnd.oci.image.layer.v1.tar+gzip") for layer in layers],
        **more,
    }
