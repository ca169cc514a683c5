"""The ASGI application: from a request to its answer."""

from __future__ import annotations

import sys
import traceback

from cais.catalog.access import DELETE, ENTER, LIST
from cais.catalog.errors import NotKnown, NotSupported
from cais.errors import CaisError, Unavailable
from cais.registry import lists, routes, tokens
from cais.registry.call import Call, Disconnected, Load, Response
from cais.registry.failures import JSON_TYPE, described, failure
from cais.registry.observed import WHO
from cais.registry.sign_ins import SignIns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from cais.catalog.catalog import Catalog
    from cais.registry.threads import Threads

    Send = Callable[[dict[str, Any]], Awaitable[None]]
    Page = Callable[[Call], Awaitable[Response]]

# Of every answer. Anybody's bytes are served here: no browser is to make a page of them.
_HEADERS = ((b"docker-distribution-api-version", b"registry/2.0"), (b"x-content-type-options", b"nosniff"))
_PIECE_BYTES = 256 << 10


class Application:
    """``pages`` are paths besides the specification's, open to all. ``realm`` is the URL of the tokens' page ("": the
    one that the client came by). ``deletes``: whether what is stored may be deleted by this way at all."""

    def __init__(
        self,
        catalog: Catalog,
        threads: Threads,
        *,
        pages: dict[bytes, Page] | None = None,
        realm: str = "",
        deletes: bool = True,
    ) -> None:
        self._catalog, self._threads, self._realm, self._deletes = catalog, threads, realm, deletes
        self._sign_ins = SignIns()
        self._load = Load()
        self._pages = {tokens.PATH: tokens.page, **(pages or {})}

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[dict[str, Any]]], send: Send
    ) -> None:
        if scope["type"] != "http":
            return
        call = Call(scope, receive, self._catalog, self._threads, self._sign_ins)
        call.load = self._load
        self._load.requests += 1
        try:
            response = await self._answer(call, scope["raw_path"])
        finally:
            self._load.requests -= 1
        if call.who is not None:
            scope[WHO] = call.who.name
        if response is None:
            return
        try:
            await self._send(call, response, scope, send)
        finally:
            if response.blob is not None:
                response.blob.close()

    async def _answer(self, call: Call, path: bytes) -> Response | None:
        """None where nobody waits for an answer any more."""
        try:
            page = self._pages.get(path)
            if page is not None:
                return await page(call)
            top = _TOP.get(path)
            if top is not None and call.method in ("GET", "HEAD"):
                call.action = top[1]
                return await top[0](call)
            route = routes.find(path)
            if route is None:
                return described(404, "NAME_UNKNOWN", "no such page")
            call.repository, call.reference = route.repository, route.reference
            methods = route.methods if self._deletes else _without_deletes(route.methods)
            found = methods.get(call.method)
            if found is None:
                return _not_allowed(methods)
            handler, call.action = found
            return await handler(call)
        except Unavailable as error:
            # What is out of reach, and where it is, is for our log: whoever asks may be anybody.
            sys.stderr.write(f"{call.method} {path.decode('latin-1')}: {error.message}\n")
            return failure(Unavailable("the registry's storage cannot be used now: try again later"))
        except CaisError as error:
            response = failure(error)
            if isinstance(error, NotKnown):
                response.headers.append(tokens.challenge(call, error, self._catalog.access.service, self._realm))
            return response
        except Disconnected:
            return None
        except Exception:
            # A defect of ours: the client learns nothing of it, the log everything.
            traceback.print_exc(file=sys.stderr)
            return described(500, "UNKNOWN", "internal error")

    async def _send(self, call: Call, response: Response, scope: dict[str, Any], send: Send) -> None:
        headers = [*_HEADERS, *response.headers]
        if response.status not in (204, 304) and call.method != "HEAD":
            headers.append((b"content-length", b"%d" % (response.length if response.blob else len(response.body))))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        blob = response.blob
        if blob is None or call.method == "HEAD":
            await send({"type": "http.response.body", "body": response.body})
            return
        send_file = scope.get("send_file")
        if blob.file is not None and send_file is not None:
            await send_file(blob.file, response.start, response.length)
        else:
            pieces = blob.read(response.start, response.start + response.length)
            while (piece := await self._threads.run(next, pieces, None)) is not None:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _version(call: Call) -> Response:
    """Whether this is a registry, and whether the caller may use it (distribution-spec, determining support)."""
    await call.look(lambda catalog: None)
    return Response(200, [JSON_TYPE], b"{}")


# What belongs to no repository. The version of the first protocol is what `docker search` looks for.
_TOP = {
    b"/v2/": (_version, ENTER),
    b"/v2": (_version, ENTER),
    b"/v2/_catalog": (lists.repositories, LIST),
    b"/v1/_ping": (lists.first_version, ENTER),
    b"/v1/search": (lists.search, LIST),
}


def _without_deletes(methods: routes.Methods) -> routes.Methods:
    return {name: found for name, found in methods.items() if found[1] != DELETE}


def _not_allowed(methods: routes.Methods) -> Response:
    response = failure(NotSupported("the operation is unsupported"))
    response.headers.append((b"allow", ", ".join(methods).encode()))
    return response
