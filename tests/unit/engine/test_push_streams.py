"""Layers that are sent while they are written to their files, and registries that do not take them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from cais.engine.push_streams import Streams
from cais.errors import Denied
from cais.remote.endpoint import endpoint_of
from cais.remote.registry import Registry
from cais.remote.transport import Limits, Transport
from cais.spec import media_types as types
from cais.spec.descriptor import Descriptor
from cais.spec.digest import Digest
from cais.spec.progress import silent
from http_server import Request, Server, serving

SMALLEST_BYTES = 4 << 20
LAYER = Descriptor(types.OCI_LAYER, Digest.of(b"the plain tar"), SMALLEST_BYTES)


class Place:
    """An empty registry, as far as streams ask of it. ``refuses`` breaks off, or answers with that status."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.sent = b""
        self.stored: dict[str, bytes] = {}

    def __call__(self, request: Request) -> None:
        if request.command == "GET":
            request.reply(status=404)
        elif request.command == "POST":
            request.reply(status=202, Location="/v2/x/blobs/uploads/1")
        elif request.command == "PATCH" and self.refuses == "broken":
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            request.connection.close()
        elif request.command == "PATCH" and self.refuses:
            request.reply(status=int(self.refuses), WWW_Authenticate="Basic realm=x")
        elif request.command == "PATCH":
            while size := int(request.rfile.readline(), 16):
                self.sent += request.rfile.read(size)
                request.rfile.readline()
            request.reply(status=202, Location="/v2/x/blobs/uploads/1")
        else:
            self.stored[request.path.partition("digest=")[2].replace("%3A", ":")] = self.sent
            request.reply(status=201)


def registry_at(server: Server) -> Registry:
    endpoint = endpoint_of(server.url.removeprefix("http://"))._replace(schemes=("http",))
    return Registry(Transport(endpoint, limits=Limits(attempts=1)), "x")


def test_a_file_is_sent_as_it_grows(tmp_path: Path) -> None:
    place, data = Place(), os.urandom(3_000_000)
    path = tmp_path / "blob"
    path.touch()
    with serving(place) as server, open(path, "ab", buffering=0) as file:
        streams = Streams(lambda: registry_at(server), silent)
        stream = streams.follow(LAYER, str(path))
        assert stream is not None
        for start in range(0, len(data), 700_000):
            file.write(data[start : start + 700_000])
            stream.written(file.tell(), 2 * start)
        path.rename(tmp_path / "its place")  # as the store does
        blob = Descriptor(types.layer_media_type("gzip"), Digest.of(data), len(data))
        stream.finish(blob)
        assert streams.sent() == {blob.digest} and place.stored == {blob.digest: data}


def test_what_is_given_up_is_not_stored(tmp_path: Path) -> None:
    place = Place()
    path = tmp_path / "blob"
    path.write_bytes(b"some of it")
    with serving(place) as server:
        streams = Streams(lambda: registry_at(server), silent)
        stream = streams.follow(LAYER, str(path))
        assert stream is not None
        stream.written(10, 10)
        stream.finish(None)
        assert streams.sent() == set()
    assert place.stored == {}


def test_nothing_is_streamed_that_is_small_or_that_the_registry_may_have(tmp_path: Path) -> None:
    def answer(request: Request) -> None:
        request.reply(b'{"tags":["1"]}')

    path = tmp_path / "blob"
    path.touch()
    with serving(answer) as server:
        streams = Streams(lambda: registry_at(server), silent)
        assert streams.follow(LAYER._replace(size_bytes=SMALLEST_BYTES - 1), str(path)) is None
        stream = streams.follow(LAYER, str(path))
        assert stream is not None
        stream.finish(LAYER)
        assert streams.sent() == set()
        assert [request.command for request in server.seen] == ["GET"]


@pytest.mark.parametrize("how", ["405", "broken", "401", "nobody", "not allowed"])
def test_a_stream_that_fails_harms_nobody(how: str, tmp_path: Path) -> None:
    place = Place("" if how in ("nobody", "not allowed") else how)
    path = tmp_path / "blob"
    path.write_bytes(bytes(2_000_000))

    def registry() -> Registry:
        if how == "not allowed":
            raise Denied("blocked by the settings")
        return registry_at(server)

    with serving(place) as server:
        if how == "nobody":
            server.server_close()
        streams = Streams(registry, silent)
        stream = streams.follow(LAYER, str(path))
        assert stream is not None
        stream.written(2_000_000, 0)
        stream.finish(LAYER)
        assert streams.sent() == set() and place.stored == {}
