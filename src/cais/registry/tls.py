"""TLS: the certificate, its key and the authorities of clients, loaded again when they change.

Connections that stand go on with what they began with; the next handshake has the new certificate. Files that do not
fit together (a certificate without its key yet) change nothing: the old ones serve on until the files change again.
"""

from __future__ import annotations

import os
import ssl
import threading

from cais.errors import CaisError, Invalid, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_LOOK_SECONDS = 2.0


class Certificates:
    """``client_ca`` "": clients need no certificate."""

    def __init__(self, certificate: str, key: str, client_ca: str = "") -> None:
        """Raises Invalid, NotFound, Denied."""
        self._files = tuple(filter(None, (certificate, key, client_ca)))
        self._certificate, self._key, self._client_ca = certificate, key, client_ca
        self._seen = self._look()
        self._current = self._load()
        self._again = threading.Event()
        # Of each connection: it takes what is current when its handshake begins.
        self.context = self._load()
        self.context.sni_callback = self._take_current

    def _take_current(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        connection.context = self._current

    def reload(self) -> None:
        """Raises Invalid, NotFound, Denied; then nothing has changed."""
        self._current = self._load()

    def look_again(self) -> None:
        """Has ``watch`` reload now. Fit for a signal handler."""
        self._again.set()

    def watch(self, tell: Callable[[str], None]) -> None:
        """Reloads when a file changes or ``look_again`` asks; does not return. ``tell`` shows a line."""
        while True:
            asked = self._again.wait(_LOOK_SECONDS)
            self._again.clear()
            seen = self._look()
            if not asked and seen == self._seen:
                continue
            try:
                self.reload()
            except CaisError as error:
                if seen != self._seen or asked:
                    tell(f"TLS: the old certificate is kept: {error.message}")
            else:
                tell("TLS: the certificate was loaded again")
            self._seen = seen

    def _look(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for path in self._files:
            try:
                status = os.stat(path)
            except OSError:
                found.append((0, 0, 0))
            else:
                found.append((status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _load(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key or None, password=_no_password)
            if self._client_ca:
                context.load_verify_locations(self._client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
                # Who resumes a session is not asked for a certificate again, which may have been taken back.
                context.options |= ssl.OP_NO_TICKET
                context.num_tickets = 0
        except ssl.SSLError as error:
            files = " and ".join(self._files)
            reason = error.reason or "no certificate, or no key, in PEM"
            raise Invalid(f"{files} cannot be used for TLS: {reason}") from None
        except OSError as error:
            missing = next((path for path in self._files if not os.access(path, os.R_OK)), self._certificate)
            raise from_os_error(error, f"read {missing} for TLS") from None
        return context


def _no_password() -> str:
    """OpenSSL would ask for one on the terminal."""
    raise Invalid("the key for TLS is encrypted", hint="The registry has nobody to ask for its password.")
