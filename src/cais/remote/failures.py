"""Why no answer came: the errors of sockets, TLS and HTTP in Docker's words."""

from __future__ import annotations

import errno
import os
import socket

from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)

from cais.errors import CaisError, Unavailable


def explained(error: BaseException, method: str, url: str) -> CaisError:
    """``url`` is without anything secret."""
    cause = _deepest(error)
    where = f'{method.capitalize()} "{url}"'
    host = url.partition("//")[2].partition("/")[0]
    for item in (error, cause):
        if isinstance(item, NameResolutionError | socket.gaierror):
            return Unavailable(f"{where}: dial tcp: lookup {host.rpartition(':')[0] or host}: no such host")
        if isinstance(item, ConnectTimeoutError) and not isinstance(item, NewConnectionError):
            return Unavailable(f"{where}: dial tcp {host}: i/o timeout")
        if isinstance(item, ReadTimeoutError):
            return Unavailable(f"{where}: the registry did not answer in time")
        if isinstance(item, SSLError) or type(item).__module__ == "ssl":
            return _tls(item, where, host)
    if isinstance(cause, OSError) and cause.errno:
        reason = os.strerror(cause.errno).lower()
        dial = f"dial tcp {host}: connect: " if isinstance(error, NewConnectionError) else ""
        hint = "Does the registry run, and on this port?" if cause.errno == errno.ECONNREFUSED else ""
        return Unavailable(f"{where}: {dial}{reason}", hint=hint)
    if isinstance(error, ProtocolError):
        return Unavailable(f"{where}: the connection was broken, or what came is no HTTP")
    return Unavailable(f"{where}: {type(cause).__name__}")


def _tls(error: BaseException, where: str, host: str) -> CaisError:
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        reason = text.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "it is not trusted"
        return Unavailable(
            f"{where}: tls: failed to verify certificate: {reason}",
            hint=f"A registry's own authority belongs into /etc/docker/certs.d/{host}/ca.crt (or /etc/cais/certs.d).",
        )
    if is_plain_answer(text):
        return Unavailable(
            f"{where}: http: server gave HTTP response to HTTPS client",
            hint="A registry without TLS is named in registries.toml as insecure.",
        )
    reason = text.partition("] ")[2].partition(" (_ssl")[0] or type(error).__name__
    return Unavailable(f"{where}: tls: {reason.lower()}")


def is_plain_answer(text: str) -> bool:
    """Whether an error of TLS says that the other side does not speak it."""
    return any(word in text for word in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"))


def _deepest(error: BaseException) -> BaseException:
    seen = error
    for _ in range(10):
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((item for item in seen.args if isinstance(item, BaseException)), None)
        inner = inner or seen.__cause__
        if inner is None and isinstance(seen, HTTPError):
            inner = seen.__context__
        if inner is None or inner is seen:
            return seen
        seen = inner
    return seen
