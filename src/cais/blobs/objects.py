"""Objects: the bytes of an S3-compatible bucket by their names, with errors of ours.

The client (``obstore``) signs, retries what the store refuses for the moment (5xx, 429, broken connections) with a
growing pause, and goes on from the byte where an answer broke off. What is left after that is Unavailable: the request
that needed it fails, and the process goes on.
"""

from __future__ import annotations

import time
from datetime import timedelta

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from cais.errors import Invalid, NotFound, Unavailable
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, TypeVar

    from cais.blobs.s3_settings import S3Settings

    Result = TypeVar("Result")

_STREAM_BYTES = 1 << 20
_REMOVE_AT_ONCE = 1000  # what one request of the protocol may name
# The client does not repeat by itself, although it may be: an answer that broke off after its head, a removal of many.
_ATTEMPTS = 3


class ListedObject(NamedTuple):
    name: str
    size_bytes: int
    modified_unix: float


class Objects:
    """One bucket. Safe in many threads; what forks opens its own in each child."""

    def __init__(self, settings: S3Settings) -> None:
        """Raises Invalid (settings that make no sense). Connects when it is first used."""
        if not settings.bucket:
            raise Invalid("no bucket is named for the blobs", hint="Set s3.bucket in the settings.")
        config: dict[str, Any] = {"region": settings.region}
        if settings.endpoint:
            if not settings.endpoint.startswith(("http://", "https://")):
                raise Invalid(f"the S3 endpoint {settings.endpoint!r} is no URL", hint="It is https://HOST[:PORT].")
            config["endpoint"] = settings.endpoint
        if settings.access_key:
            config.update(access_key_id=settings.access_key, secret_access_key=settings.secret_key)
        if settings.virtual_hosted:
            config["virtual_hosted_style_request"] = True
        self._retry_seconds = settings.retry_seconds
        self.where = f"s3://{settings.bucket}/{settings.prefix}"
        try:
            self._store = S3Store(
                settings.bucket,
                prefix=settings.prefix or None,
                client_options={
                    "allow_http": settings.endpoint.startswith("http://"),
                    "connect_timeout": timedelta(seconds=5),
                    # Of one silence, not of the whole answer: that may be gigabytes.
                    "read_timeout": timedelta(seconds=settings.answer_seconds),
                    "timeout": timedelta(days=1),
                },
                retry_config={
                    "max_retries": 10_000,  # the time decides
                    "retry_timeout": timedelta(seconds=settings.retry_seconds),
                    "backoff": {
                        "init_backoff": timedelta(milliseconds=100),
                        "max_backoff": timedelta(seconds=5),
                        "base": 2,
                    },
                },
                **config,
            )
        except (BaseError, ValueError) as error:
            raise Invalid(f"the settings of the S3 store cannot be used: {_first_line(error)}") from None

    def __repr__(self) -> str:
        return f"Objects({self.where})"

    def put(self, name: str, content: bytes | bytearray | memoryview) -> None:
        """The object is whole and stored when this returns. Raises Unavailable."""
        self._done(lambda: obstore.put(self._store, name, content, use_multipart=False), f"write {name}")

    def read(self, name: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes from ``start`` up to ``end``, in pieces of about 1 MiB. Raises NotFound, Unavailable."""
        if start >= end:
            return
        stream: Iterator[bytes] = self._done(
            lambda: iter(obstore.get(self._store, name, options={"range": (start, end)}).stream(_STREAM_BYTES)),
            f"read {name}",
        )
        left = end - start
        while True:
            try:
                piece: bytes | None = next(stream, None)
            except (BaseError, OSError) as error:  # the client has tried to go on from there
                raise self._translated(error, f"read {name}") from error
            if piece is None:
                break
            left -= len(piece)
            yield piece
        if left:
            raise Unavailable(f"{self.where} gave {end - start - left} of {end - start} bytes of {name}")

    def remove(self, names: Iterable[str]) -> None:
        """None of them is there when this returns. Raises Unavailable."""
        todo = list(names)
        for first in range(0, len(todo), _REMOVE_AT_ONCE):
            some = todo[first : first + _REMOVE_AT_ONCE]
            self._done(lambda some=some: obstore.delete(self._store, some), "remove objects")  # type: ignore[misc]

    def list(self, below: str, behind: str = "") -> Iterator[ListedObject]:
        """All objects whose names start with the path ``below``, behind the name ``behind``. Raises Unavailable."""
        last = behind
        failed, begun = 0, time.monotonic()
        while True:
            pages = obstore.list(self._store, below or None, offset=last or None, chunk_size=_REMOVE_AT_ONCE)
            try:
                for page in pages:
                    for item in page:
                        last = item["path"]
                        yield ListedObject(last, item["size"], item["last_modified"].timestamp())
                return
            except (BaseError, OSError) as error:
                failed += 1  # it goes on from where it broke off
                if not self._may_be_repeated(error, failed, begun):
                    raise self._translated(error, "list objects") from error

    def link(self, name: str, seconds: float) -> str:
        """A URL by which anybody may read the object for that long."""
        url: str = obstore.sign(self._store, "GET", name, timedelta(seconds=seconds))
        return url

    def answers(self) -> None:
        """Raises Unavailable where the store does not answer, or refuses us."""
        self._done(lambda: next(iter(obstore.list(self._store, chunk_size=1)), None), "list objects")

    def _done(self, action: Callable[[], Result], doing: str) -> Result:
        failed, begun = 0, time.monotonic()
        while True:
            try:
                return action()
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise self._translated(error, doing) from error
                raise NotFound(f"there is no object {doing.split()[-1]} in {self.where}") from None
            except (BaseError, OSError) as error:
                failed += 1
                if not self._may_be_repeated(error, failed, begun):
                    raise self._translated(error, doing) from error

    def _may_be_repeated(self, error: Exception, failed: int, begun: float) -> bool:
        """Whether it was the connection, and not an answer: what the store has answered the client has weighed."""
        waited = time.monotonic() - begun
        return failed < _ATTEMPTS and waited < self._retry_seconds and "status code" not in str(error)

    def _translated(self, error: Exception, doing: str) -> Unavailable:
        hint = ""
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError)) or "403 Forbidden" in str(error):
            hint = "The store refuses the keys: look at s3.access_key, s3.secret_key and what they may do."
        elif "NoSuchBucket" in str(error):
            hint = "There is no such bucket: it has to be made before the registry starts."
        return Unavailable(f"{self.where}: cannot {doing}: {_first_line(error)}", hint=hint)


def _first_line(error: Exception) -> str:
    """What the client says, without its long account of itself."""
    return str(error).partition("\n")[0][:300]
