"""Ports that are kept for containers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from cais.network import reserve


@pytest.fixture(params=["127.0.0.1", "::1"])
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


@pytest.mark.parametrize("just_used", [False, True])
def test_a_kept_port_is_nobodys_and_answers_nobody(address: str, just_used: bool) -> None:
    with socket.create_server((address, 0), family=_family(address)) as server:
        port = server.getsockname()[1]
        if just_used:  # the server ends the connection first: the port remembers it
            with socket.create_connection((address, port)) as client:
                server.accept()[0].close()
                assert client.recv(1) == b""
    kept = reserve.bind("tcp", address, port)
    try:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address, port))
        for option in (0, 1):
            with socket.socket(_family(address)) as other:
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, option)
                with pytest.raises(OSError, match="in use"):
                    other.bind((address, port))
                    other.listen()
    finally:
        os.close(kept)
