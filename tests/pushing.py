"""A client that pushes and pulls as the specification says, plainly: what it was acknowledged it can compare."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import random
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class GaveUp(Exception):
    """The registry did not do it within the client's patience."""


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Client:
    """A new connection for each request, so that a balancer gives each to another replica.

    ``patience_seconds``: for so long 5xx and broken connections are tried again.
    """

    def __init__(self, port: int, patience_seconds: float = 0) -> None:
        self._port = port
        self._patience = patience_seconds

    def once(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """Raises OSError, HTTPException: the connection broke."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            said = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, said, answer.read())
        finally:
            connection.close()

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """The answer, if it is no 5xx. Raises GaveUp."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                answer = self.once(method, path, body, headers)
                if answer.status < 500:
                    return answer
                why = f"{answer.status} {answer.body[:300]!r}"
            except (OSError, http.client.HTTPException) as error:
                why = repr(error)
            if time.monotonic() > deadline:
                raise GaveUp(f"{method} {path}: {why}")
            time.sleep(0.05)

    def push_blob(self, repository: str, content: bytes, chunk_bytes: int = 1 << 20) -> str:
        """In chunks; goes on where the registry says that it is. Returns the digest. Raises GaveUp."""
        digest = digest_of(content)
        deadline = time.monotonic() + max(self._patience, 1)
        while time.monotonic() < deadline:
            begun = self.ask("POST", f"/v2/{repository}/blobs/uploads/", b"")
            assert begun.status == 202, begun
            if self._send(begun.headers["location"], content, chunk_bytes, digest, deadline):
                return digest
        raise GaveUp(f"blob {digest}")

    def _send(self, location: str, content: bytes, chunk_bytes: int, digest: str, deadline: float) -> bool:
        """False where the upload is lost, and has to begin again."""
        offset = 0
        while time.monotonic() < deadline:
            chunk = content[offset : offset + chunk_bytes]
            if not chunk:
                done = self.ask("PUT", f"{location}?digest={digest}", b"")
                if done.status == 201:
                    return True
                # A PUT that was done and whose answer was lost.
                repository = location.partition("/v2/")[2].partition("/blobs/")[0]
                return self.ask("HEAD", f"/v2/{repository}/blobs/{digest}").status == 200
            span = {"Content-Range": f"{offset}-{offset + len(chunk) - 1}", "Content-Type": "application/octet-stream"}
            try:
                answer = self.once("PATCH", location, chunk, span)
            except (OSError, http.client.HTTPException):
                answer = None
            if answer is not None and answer.status == 202:
                offset += len(chunk)
                continue
            status = self.ask("GET", location)
            if status.status == 404:
                return False
            last = int(status.headers["range"].partition("-")[2])
            offset = last + 1 if last else 0
        return False

    def push(self, repository: str, tag: str, layers: list[bytes], chunk_bytes: int = 1 << 20) -> bytes:
        """Blobs, then the manifest. Returns the manifest. Raises GaveUp."""
        config = json.dumps({"tag": f"{repository}:{tag}"}).encode()
        rows = []
        for content in (config, *layers):
            digest = self.push_blob(repository, content, chunk_bytes)
            rows.append({"mediaType": "application/octet-stream", "digest": digest, "size": len(content)})
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": rows[0], "layers": rows[1:]}
        body = json.dumps(manifest).encode()
        done = self.ask("PUT", f"/v2/{repository}/manifests/{tag}", body, {"Content-Type": OCI_MANIFEST})
        if done.status != 201:
            raise GaveUp(f"manifest: {done}")
        return body

    def pull(self, repository: str, reference: str) -> tuple[bytes, list[bytes]]:
        """The manifest and its layers, verified."""
        found = self.ask("GET", f"/v2/{repository}/manifests/{reference}", headers={"Accept": OCI_MANIFEST})
        assert found.status == 200, found
        assert found.headers["docker-content-digest"] == digest_of(found.body)
        layers = []
        manifest = json.loads(found.body)
        for row in (manifest["config"], *manifest["layers"]):
            blob = self.ask("GET", f"/v2/{repository}/blobs/{row['digest']}")
            assert blob.status == 200, blob
            assert digest_of(blob.body) == row["digest"] and len(blob.body) == row["size"]
            layers.append(blob.body)
        return found.body, layers[1:]


class Acknowledged(NamedTuple):
    """A push that the registry has said is there."""

    repository: str
    tag: str
    manifest: bytes
    layers: list[bytes]


def storm(
    port: int, clients: int, seconds: float, disturb: Callable[[], None] | None = None
) -> tuple[list[Acknowledged], list[str]]:
    """Many clients that push for so long, each one image after the other, while ``disturb`` is called again and again.

    What was acknowledged, and what clients gave up.
    """
    acknowledged: list[Acknowledged] = []
    given_up: list[str] = []
    end = time.monotonic() + seconds
    shared = os.urandom(300_000)

    def work(number: int) -> None:
        client = Client(port, patience_seconds=60)
        repository, count = f"team{number % 3}/app{number}", 0
        while time.monotonic() < end or not count:
            layers = [os.urandom(random.randrange(1, 900_000)), shared]
            count += 1
            try:
                manifest = client.push(repository, f"v{count}", layers, chunk_bytes=random.randrange(100_000, 500_000))
            except GaveUp as error:
                given_up.append(str(error))
            else:
                acknowledged.append(Acknowledged(repository, f"v{count}", manifest, layers))

    with ThreadPoolExecutor(clients) as threads:
        running = [threads.submit(work, number) for number in range(clients)]
        while disturb and time.monotonic() < end:
            disturb()
        for future in running:
            future.result()
    return acknowledged, given_up
