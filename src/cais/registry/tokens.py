"""Tokens: GET and POST /token, Docker's token protocol, and the challenges that send clients there.

https://distribution.github.io/distribution/spec/auth/token/ and .../oauth/
"""

from __future__ import annotations

import json
import re
from urllib.parse import parse_qs

from cais.catalog import scopes
from cais.catalog.errors import NotKnown
from cais.errors import Invalid
from cais.registry.call import BadRequest, Response
from cais.registry.failures import JSON_TYPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.catalog.access import Access, Who
    from cais.catalog.catalog import Catalog
    from cais.registry.call import Call, Header

PATH = b"/token"
_FORM_LIMIT_BYTES = 64 << 10
_FIELDS_LIMIT = 256
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")


async def page(call: Call) -> Response:
    """The password or secret stands in Authorization (GET), or in the form (POST, OAuth 2). Without either, it is for
    what everybody may do."""
    if call.method == "GET":
        fields = _fields(call.query_string)
        takes_time = call.access.header_takes_time(call.header(b"authorization"))
        return await call.run_open(_by_header, call, fields, takes_time=takes_time)
    if call.method != "POST":
        return Response(405, [(b"allow", b"GET, POST")])
    body = await call.body(_FORM_LIMIT_BYTES, lambda: BadRequest("the form is too long"))
    fields = _fields(body)
    name, secret = _one(fields, "username"), _one(fields, "password")
    takes_time = _one(fields, "grant_type") == "password" and call.access.takes_time(name, secret)
    return await call.run_open(_by_form, call, fields, takes_time=takes_time)


def challenge(call: Call, error: NotKnown, service: str, realm: str) -> Header:
    """WWW-Authenticate (RFC 6750, 3; Docker's token protocol). ``realm`` "": the URL by which the client came."""
    text = f'Bearer realm="{realm or _realm(call)}",service="{service}"'
    if error.scope:
        besides = "" if call.besides is None else f" {call.besides}"
        text += f',scope="{error.scope}{besides}"'
    if error.problem:
        text += f',error="{error.problem}"'
    return b"www-authenticate", text.encode("ascii", "replace")


def _realm(call: Call) -> str:
    """By the name that the client asked for, and through a balancer that ends TLS. Who lies here misleads itself."""
    forwarded = call.header(b"x-forwarded-proto").partition(",")[0].strip().lower()
    host = call.header(b"host")
    if _HOST.fullmatch(host) is None:
        host = "localhost"
    return f"{forwarded if forwarded in ('http', 'https') else call.scheme}://{host}{PATH.decode()}"


def _fields(text: bytes) -> dict[str, list[str]]:
    """Raises BadRequest."""
    try:
        return parse_qs(text.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_LIMIT, errors="strict")
    except ValueError:
        raise BadRequest("the request cannot be understood") from None


# In threads.


def _by_header(catalog: Catalog, call: Call, fields: dict[str, list[str]]) -> Response:
    access = catalog.access
    call.who = who = access.identify(call.header(b"authorization"), call.address)
    login = ""
    if _one(fields, "offline_token") in ("true", "1"):
        login = access.begin_login(who, _one(fields, "client_id"))
    return _answer(access, who, fields, login)


def _by_form(catalog: Catalog, call: Call, fields: dict[str, list[str]]) -> Response:
    access, kind = catalog.access, _one(fields, "grant_type")
    if kind == "password":
        call.who = who = access.sign_in(_one(fields, "username"), _one(fields, "password"), call.address)
        login = access.begin_login(who, _one(fields, "client_id")) if _one(fields, "access_type") == "offline" else ""
        return _answer(access, who, fields, login)
    if kind == "refresh_token":
        login = _one(fields, "refresh_token")
        call.who = who = access.resume_login(login)
        return _answer(access, who, fields, login)
    raise BadRequest(f"unsupported grant_type {kind[:40]!r}", hint="There are password and refresh_token.")


def _answer(access: Access, who: Who, fields: dict[str, list[str]], login: str) -> Response:
    """Raises NotKnown, BadRequest."""
    from cais.spec.timestamp import format

    service = _one(fields, "service")
    if service and service != access.service:
        raise BadRequest(f"this registry is not the service {service[:80]!r}")
    try:
        asked = scopes.parse(fields.get("scope", []))
    except Invalid as error:
        raise BadRequest(error.message) from None
    signed, allowed = access.issue(who, asked)
    answer: dict[str, object] = {
        "token": signed.token,
        "access_token": signed.token,
        "expires_in": signed.lasts_seconds,
        "issued_at": format(signed.issued),
        "scope": scopes.format(allowed),
    }
    if login:
        answer["refresh_token"] = login
    headers: list[Header] = [JSON_TYPE, (b"cache-control", b"no-store")]
    return Response(200, headers, json.dumps(answer).encode())


def _one(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[-1]
