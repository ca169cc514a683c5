"""Bodies of uploads in all the ways in which they come: by the parser, from the socket itself, broken off, too slow."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from registry_process import RegistryProcess, digest_of, registry_process

DEADLINE_SECONDS = 60.0
# Not a whole number of blocks, nor of portions.
LARGE = os.urandom((9 << 20) + 1234)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    flags = ("--workers", "1", "--set", "limits.blob=16MiB")
    with registry_process(tmp_path_factory.mktemp("bodies"), *flags) as server:
        yield server


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """Its clients have to move."""
    flags = ("--workers", "1", "--set", "limits.body_timeout=1s")
    with registry_process(tmp_path_factory.mktemp("impatient"), *flags) as server:
        yield server


@pytest.fixture(scope="module")
def unhurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """Its clients may stand still for long, but have to send 100 KiB in four seconds."""
    flags = ("--workers", "1", "--set", "limits.body_timeout=4s", "--set", "limits.body_rate=25KiB")
    with registry_process(tmp_path_factory.mktemp("unhurried"), *flags) as server:
        yield server


class Client:
    """A connection whose bytes are chosen one by one."""

    def __init__(self, server: RegistryProcess) -> None:
        host, _, port = server.address.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=DEADLINE_SECONDS)
        self._said = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.socket.sendall(piece)

    def answer(self) -> tuple[int, bytes]:
        """Status and body of the next one; (0, what there was) where the server has closed."""
        while b"\r\n\r\n" not in self._said:
            if not self._read():
                return 0, self._said
        head, _, self._said = self._said.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").lower().split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:])
        length = int(fields.get("content-length", 0))
        while len(self._said) < length:
            assert self._read()
        body, self._said = self._said[:length], self._said[length:]
        return int(lines[0].split()[1]), body

    def _read(self) -> bool:
        try:
            piece = self.socket.recv(1 << 20)
        except ConnectionResetError:
            piece = b""
        self._said += piece
        return bool(piece)


def begun(server: RegistryProcess, name: str = "bodies/x") -> str:
    answer = server.request("POST", f"/v2/{name}/blobs/uploads/")
    assert answer.status == 202
    assert "oci-chunk-min-length" not in answer.headers, "chunks may have any size in files"
    return answer.headers["location"]


def head(method: str, target: str, *fields: str) -> bytes:
    return "\r\n".join((f"{method} {target} HTTP/1.1", "Host: x", *fields, "", "")).encode()


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def wait_until_at(server: RegistryProcess, location: str, offset: int) -> None:
    """The end of a connection is seen before what came by it is written."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (found := server.request("GET", location).headers["range"]) != f"0-{offset - 1}":
        assert time.monotonic() < deadline, found
        time.sleep(0.02)


def is_kept(server: RegistryProcess, location: str, data: bytes) -> bool:
    done = server.request("PUT", f"{location}?digest={digest_of(data)}")
    return done.status == 201 and server.request("GET", f"/v2/bodies/x/blobs/{digest_of(data)}").body == data


@pytest.mark.parametrize("size", [len(LARGE), 70_001, 1 << 20])
def test_a_large_body_with_its_length(server: RegistryProcess, size: int) -> None:
    data = os.urandom(16) + LARGE
    location = begun(server)
    with Client(server) as client:
        client.send(head("PATCH", location, f"Content-Length: {len(data)}"), *cut(data, size))
        assert client.answer()[0] == 202
        client.send(head("GET", location))
        assert client.answer()[0] == 204, "the connection is good for more"
    assert is_kept(server, location, data)


@pytest.mark.parametrize("size", [300_007, 5 << 20])
def test_a_large_body_in_chunks(server: RegistryProcess, size: int) -> None:
    data = os.urandom(16) + LARGE
    location = begun(server)
    chunks = [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in cut(data, size)]
    with Client(server) as client:
        client.send(head("PATCH", location, "Transfer-Encoding: chunked"), *chunks, b"0\r\n\r\n")
        assert client.answer()[0] == 202
    assert is_kept(server, location, data)


def test_what_stands_behind_a_large_body_is_the_next_request(server: RegistryProcess) -> None:
    data, location = os.urandom(16) + LARGE, begun(server)
    with Client(server) as client:
        client.send(
            head("PATCH", location, f"Content-Length: {len(data)}") + data
            + head("PUT", f"{location}?digest={digest_of(data)}", "Content-Length: 0")
            + head("GET", f"/v2/bodies/x/blobs/{digest_of(data)}") + head("GET", "/v2/")
        )  # fmt: skip
        assert [client.answer()[0] for _ in range(2)] == [202, 201]
        assert client.answer() == (200, data)
        assert client.answer() == (200, b"{}")


def test_two_requests_at_once_of_which_the_second_has_a_large_body(server: RegistryProcess) -> None:
    data, location = os.urandom(16) + LARGE, begun(server)
    with Client(server) as client:
        client.send(head("GET", "/v2/") + head("PATCH", location, f"Content-Length: {len(data)}") + data[:1000])
        client.send(data[1000:])
        assert [client.answer()[0] for _ in range(2)] == [200, 202]
    assert is_kept(server, location, data)


def test_a_client_that_waits_to_be_told_to_go_on(server: RegistryProcess) -> None:
    data, location = os.urandom(16) + LARGE, begun(server)
    with Client(server) as client:
        client.send(head("PATCH", location, f"Content-Length: {len(data)}", "Expect: 100-continue"))
        assert client.answer()[0] == 100
        client.send(data)
        assert client.answer()[0] == 202
    assert is_kept(server, location, data)


@pytest.mark.parametrize("sent", [100_000, (5 << 20) + 77])
def test_of_a_large_body_that_breaks_off_what_came_is_kept(server: RegistryProcess, sent: int) -> None:
    data, location = os.urandom(16) + LARGE, begun(server)
    with Client(server) as client:
        client.send(head("PATCH", location, f"Content-Length: {len(data)}"), data[:sent])
        client.socket.shutdown(socket.SHUT_WR)
        assert client.answer()[0] == 0
    wait_until_at(server, location, sent)
    assert server.request("PATCH", location, data[sent:]).status == 202
    assert is_kept(server, location, data)


def test_a_large_body_that_stands_still_is_cut_off_and_kept(impatient: RegistryProcess) -> None:
    location = begun(impatient)
    with Client(impatient) as client:
        client.send(head("PATCH", location, "Content-Length: 8000000"), bytes(3_000_000))
        assert client.answer() == (0, b"")
    wait_until_at(impatient, location, 3_000_000)


def test_an_answer_before_the_end_of_a_large_body_is_read(server: RegistryProcess) -> None:
    """The rest of the body is forgotten, and the connection good for more."""
    location = begun(server)
    with Client(server) as client:
        client.send(head("PATCH", location, f"Content-Length: {2 * len(LARGE)}"), LARGE, LARGE, head("GET", "/v2/"))
        assert client.answer()[0] == 413
        assert client.answer() == (200, b"{}")


def test_a_body_that_never_ends_is_not_read_for_ever(server: RegistryProcess) -> None:
    location, sent = begun(server), 0
    with Client(server) as client:
        client.send(head("PATCH", location, f"Content-Length: {1 << 40}"))
        try:
            while sent < 200 << 20:
                client.send(LARGE)
                sent += len(LARGE)
        except OSError:
            pass
    assert sent < 100 << 20


@pytest.mark.parametrize("between", [b"5;", b"5\r\nabcde\r\n0\r\nTrailer: "], ids=["chunk-size", "trailer"])
def test_a_byte_now_and_then_between_the_bytes_of_a_body_is_no_movement(
    impatient: RegistryProcess, between: bytes
) -> None:
    location = begun(impatient)
    with Client(impatient) as client:
        client.send(head("PATCH", location, "Transfer-Encoding: chunked"), between)
        client.socket.settimeout(0.3)
        sent = 0
        while True:
            try:
                client.send(b"x")  # the extension of a chunk, a field of the trailer: of any length
                if not client.socket.recv(1):
                    break
            except TimeoutError:
                sent += 1
                assert sent < DEADLINE_SECONDS / 0.3, "it is not cut off"
            except OSError:
                break


def test_bodies_that_come_drop_by_drop_are_cut_off(unhurried: RegistryProcess) -> None:
    """They never stand still for so long as they might."""
    length, large, chunked = "Content-Length: 1000", "Content-Length: 8000000", "Transfer-Encoding: chunked"
    uploads = [begun(unhurried) for _ in range(3)]

    def drip(method: str, target: str, field: str) -> bool:
        with Client(unhurried) as client:
            client.send(head(method, target, field))
            client.socket.settimeout(0.2)
            for _ in range(int(DEADLINE_SECONDS / 0.2)):
                try:
                    client.send(b"1\r\nx\r\n" if field == chunked else b"x")
                    if not client.socket.recv(1):
                        return True
                except TimeoutError:
                    pass
                except OSError:
                    return True
        return False

    requests = [("PATCH", uploads[0], length), ("PATCH", uploads[1], large), ("PATCH", uploads[2], chunked)]
    requests += [("PUT", "/v2/bodies/x/manifests/1", length), ("POST", "/token", length)]
    with ThreadPoolExecutor(len(requests)) as threads:
        cut_off = list(threads.map(lambda request: drip(*request), requests))
    assert cut_off == [True] * len(requests)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while unhurried.request("GET", uploads[1]).headers["range"] == "0-0":
        assert time.monotonic() < deadline, "what came is kept"
        time.sleep(0.02)


def test_a_request_that_is_followed_by_nonsense_is_answered(server: RegistryProcess) -> None:
    """A body that is longer than its length, for one. The answer is its own, whole, and the last."""
    data = os.urandom(16) + LARGE
    digest = server.push_blob("bodies/x", data)
    location = begun(server)
    for nonsense in (b"nonsense\r\n\r\n", b"GET /v2/ HTTP/1.1\r\nX: " + b"x" * 100_000):
        with Client(server) as client:
            client.send(head("GET", f"/v2/bodies/x/blobs/{digest}"), nonsense)
            assert client.answer() == (200, data)
            assert client.answer() == (0, b"")
    with Client(server) as client:
        client.send(head("PATCH", location, "Content-Length: 4") + b"four and more\r\n\r\n")
        assert client.answer()[0] == 202
        assert client.answer() == (0, b"")
    assert server.request("GET", location).headers["range"] == "0-3"
    with Client(server) as client:
        client.send(head("PATCH", location, "Transfer-Encoding: chunked") + b"4\r\nmore\r\nnonsense\r\n")
        assert client.answer()[0] == 400
        assert client.answer() == (0, b"")


def test_who_goes_away_from_several_requests_at_once_leaves_no_defect(server: RegistryProcess) -> None:
    digest = server.push_blob("bodies/x", LARGE)
    for _ in range(20):
        with Client(server) as client:
            client.send(head("GET", f"/v2/bodies/x/blobs/{digest}") * 3 + head("GET", "/v2/") * 3)
            client.socket.recv(1000)
    assert server.request("GET", "/v2/").status == 200
    assert "Traceback" not in server.log()
