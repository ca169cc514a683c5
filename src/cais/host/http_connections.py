"""urllib3's connections over ``host.sockets``: a thread that waits in one can be told to stop (``host.threads``)."""

from __future__ import annotations

import socket

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, LocationParseError, NameResolutionError, NewConnectionError
from urllib3.util.connection import allowed_gai_family

from cais.host.sockets import connected


class _Stoppable(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        """As its own, and with the same errors."""
        host = self._dns_host.strip("[]")
        try:
            host.encode("idna")
            return connected(host, self.port, self.timeout, self.socket_options or (), allowed_gai_family())
        except UnicodeError:
            raise LocationParseError(f"{host!r}, label empty or too long") from None
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            text = f"Connection to {self.host} timed out. (connect timeout={self.timeout})"
            raise ConnectTimeoutError(self, text) from error
        except OSError as error:
            raise NewConnectionError(self, f"Failed to establish a new connection: {error}") from error


class Plain(_Stoppable, HTTPConnection):
    """Without TLS."""


class Secure(_Stoppable, HTTPSConnection):
    """With TLS, by a context of ``host.sockets.secured``."""
