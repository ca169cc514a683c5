"""Call: one request and what its handler may do for it. Response: the answer."""

from __future__ import annotations

from urllib.parse import parse_qsl

from cais.catalog.errors import CatalogError
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any, TypeVar

    from cais.catalog.access import Access, Who
    from cais.catalog.blobs import OpenBlob
    from cais.catalog.catalog import Catalog
    from cais.catalog.rules import Seen
    from cais.catalog.scopes import Scope
    from cais.registry.sign_ins import SignIns
    from cais.registry.threads import Threads

    Result = TypeVar("Result")
    Receive = Callable[[], Awaitable[dict[str, Any]]]
    Header = tuple[bytes, bytes]


class Disconnected(Exception):
    """The client went away, or was too slow, before its request had come in."""


class BadRequest(CatalogError):
    """The request contradicts itself, or the protocol."""

    kind = "invalid"
    code = "UNSUPPORTED"


class Load:
    """How many ``requests`` are under way."""

    __slots__ = ("requests",)

    def __init__(self) -> None:
        self.requests = 0


class SmallBody(NamedTuple):
    """Not ``is_whole``: the client went away."""

    content: bytes
    is_whole: bool


class Response:
    """``body`` is whole; or ``length`` bytes of ``blob`` from ``start`` on are sent, and then it is closed."""

    __slots__ = ("blob", "body", "headers", "length", "start", "status")

    def __init__(self, status: int, headers: list[Header], body: bytes = b"") -> None:
        self.status, self.headers, self.body = status, headers, body
        self.blob: OpenBlob | None = None
        self.start, self.length = 0, len(body)


class Call:
    """``method``; ``repository``, ``reference`` of the path, not checked; ``who`` asks, known after the first ``run``,
    from ``address``.

    ``action`` is what the caller needs to be allowed to do in the repository; ``besides`` what else a token is good
    for that it should ask for. ``load`` is that of the process.
    """

    __slots__ = (
        "_admitted",
        "_catalog",
        "_receive",
        "_scope",
        "_sign_ins",
        "_threads",
        "action",
        "address",
        "besides",
        "headers",
        "load",
        "method",
        "query_string",
        "reference",
        "repository",
        "scheme",
        "who",
    )

    def __init__(
        self,
        scope: dict[str, Any],
        receive: Receive,
        catalog: Catalog,
        threads: Threads,
        sign_ins: SignIns,
    ) -> None:
        self._scope = scope
        self.method: str = scope["method"]
        self.scheme: str = scope["scheme"]
        self.address: str = (scope.get("client") or ("",))[0]
        self.headers: list[Header] = scope["headers"]
        self.query_string: bytes = scope["query_string"]
        self.repository = self.reference = self.action = ""
        self.besides: Scope | None = None
        self.who: Who | None = None
        self.load = Load()
        self._receive, self._catalog, self._threads = receive, catalog, threads
        self._sign_ins, self._admitted = sign_ins, False

    def header(self, name: bytes) -> str:
        """The value of the header (its name in small letters), or ""; the first one, if there are several."""
        for key, value in self.headers:
            if key == name:
                return value.decode("latin-1")
        return ""

    def query(self) -> dict[str, str]:
        """The parameters behind the question mark; the last one of a name counts."""
        return dict(parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True)) if self.query_string else {}

    def values(self, name: str) -> list[str]:
        """All values of the parameter."""
        pairs = parse_qsl(self.query_string.decode("latin-1"), keep_blank_values=True)
        return [value for key, value in pairs if key == name]

    async def run(self, function: Callable[..., Result], *arguments: object) -> Result:
        """``function(catalog, *arguments)`` in a thread, if the caller may do what the route says.

        Raises NotKnown, NotAllowed, and what the function raises.
        """
        if self.who is None and self.access.header_takes_time(self.header(b"authorization")):
            self.who = await self._sign_ins.run(self._identify)
        return await self._threads.run(self._work, function, arguments)

    async def look(self, function: Callable[..., Result], *arguments: object) -> Result:
        """As ``run``, for what only looks something up: at once, where all that it needs is near."""
        if self._catalog.is_near and (self._admitted or self._admit_at_once()):
            return function(self._catalog, *arguments)
        return await self.run(function, *arguments)

    def at_once(self, function: Callable[..., Result], *arguments: object) -> Result | None:
        """As ``run``, of what waits for nothing; None where who the caller is cannot be known without waiting."""
        return function(self._catalog, *arguments) if self._admitted or self._admit_at_once() else None

    async def admit(self) -> None:
        """For who waits for a body before there is anything to run. Raises NotKnown, NotAllowed."""
        await self.look(_nothing)

    def _admit_at_once(self) -> bool:
        """Whether the caller is known without waiting (a password takes its time). Raises as ``run``."""
        access, authorization = self._catalog.access, self.header(b"authorization")
        who = access.remembered(authorization)
        if who is None and authorization:
            return False
        self.who = access.identify("", self.address) if who is None else who
        access.require(self.who, self.action, self.repository)
        self._admitted = True
        return True

    @property
    def access(self) -> Access:
        return self._catalog.access

    async def run_open(self, function: Callable[..., Result], *arguments: object, takes_time: bool) -> Result:
        """``function(catalog, *arguments)`` in a thread, whoever the caller is: for what finds that out itself.
        ``takes_time``: by hashing a password."""
        if takes_time:
            return await self._sign_ins.run(function, self._catalog, *arguments)
        return await self._threads.run(function, self._catalog, *arguments)

    def allows(self, catalog: Catalog, action: str, repository: str) -> bool:
        """Whether the caller may do something besides what the route says; for use inside of ``run``."""
        assert self.who is not None
        return catalog.access.allows(self.who, action, repository)

    def require_asking_again(self, catalog: Catalog, action: str, repository: str) -> None:
        """Raises NotGranted where the caller came with a token, and one would be given that allows that, too; for use
        inside of ``run``."""
        assert self.who is not None
        if catalog.access.would_grant(self.who, action, repository):
            raise catalog.access.refusal(self.who, self.action, self.repository)

    def readable(self, catalog: Catalog) -> tuple[Seen, ...]:
        """What the caller may pull, for a query; for use inside of ``run``."""
        assert self.who is not None
        return catalog.access.readable(self.who)

    def _work(self, function: Callable[..., Result], arguments: tuple[object, ...]) -> Result:
        if not self._admitted:
            if self.who is None:
                self.who = self._identify()
            self._catalog.access.require(self.who, self.action, self.repository)
            self._admitted = True
        return function(self._catalog, *arguments)

    def _identify(self) -> Who:
        return self._catalog.access.identify(self.header(b"authorization"), self.address)

    def content_length(self) -> int | None:
        """What the client says of its body. Raises BadRequest (no number)."""
        text = self.header(b"content-length")
        if not text:
            return None
        if not text.isascii() or not text.isdigit():
            raise BadRequest(f"invalid Content-Length {text[:40]!r}")
        return int(text)

    async def piece(self) -> tuple[bytes, bool]:
        """The next bytes of the body, and whether there may be more. Raises Disconnected."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            unread: bytes = self._scope.pop("unread", b"")
            if unread:
                return unread, True
            raise Disconnected
        return message["body"], message["more_body"]

    async def small_body(self, limit_bytes: int) -> SmallBody | None:
        """The body, when the caller may do what the route says. None where it has more bytes than that, or does not say
        how many. Raises NotKnown, NotAllowed, BadRequest."""
        length = self.content_length()
        if length is None and self.header(b"transfer-encoding"):
            return None
        if length is not None and length > limit_bytes:
            return None
        await self.admit()
        pieces: list[bytes] = []
        more = bool(length)
        while more:
            try:
                piece, more = await self.piece()
            except Disconnected:
                return SmallBody(b"".join(pieces), False)
            pieces.append(piece)
        return SmallBody(b"".join(pieces), True)

    @property
    def receive_into(self) -> Callable[[memoryview], Awaitable[tuple[int, bool]]] | None:
        """Where there is one, it takes the place of ``piece``: it fills a buffer with the next bytes of the body, and
        says how many these are, and whether there may be more. None, and more: the client is gone."""
        found: Callable[[memoryview], Awaitable[tuple[int, bool]]] | None = self._scope.get("receive_into")
        return found

    async def body(self, limit_bytes: int, too_large: Callable[[], Exception]) -> bytes:
        """The whole body. Raises what ``too_large`` makes, where it has more than ``limit_bytes``."""
        if (self.content_length() or 0) > limit_bytes:
            raise too_large()
        pieces, size, more = [], 0, True
        while more:
            piece, more = await self.piece()
            pieces.append(piece)
            size += len(piece)
            if size > limit_bytes:
                raise too_large()
        return b"".join(pieces)


def _nothing(catalog: Catalog) -> None:
    """To be allowed is all."""
