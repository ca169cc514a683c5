"""A client as the specification's conformance suite is one: its headers, its bodies, and how it signs in."""

from __future__ import annotations

import base64
import http.client
import json
import re
from urllib.parse import urlencode, urljoin, urlsplit

from registry_process import OCI_INDEX, OCI_MANIFEST, Answer, RegistryProcess

_REPOSITORY = re.compile(r"/v2/(.+?)/(?:blobs|manifests|tags|referrers)/")
_KINDS = {"GET": "pull", "HEAD": "pull", "POST": "push", "PATCH": "push", "PUT": "push"}
ACCEPT = [("Accept", OCI_INDEX), ("Accept", OCI_MANIFEST)]
OCTETS = [("Content-Type", "application/octet-stream")]


class SuiteClient:
    """Asks without credentials, and once more with a token for the scope that the answer names; with ``keeps`` the
    token goes along with requests of its kind to the repository from then on, whatever else it is for."""

    def __init__(self, registry: RegistryProcess, user: str = "", password: str = "", *, keeps: bool = True) -> None:
        self.user, self.keeps = user, keeps
        self.registry, self._password = registry, password
        self._kept: dict[tuple[str, str], str] = {}
        self._connection = registry.connect()

    def close(self) -> None:
        self._connection.close()

    def ask(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: list[tuple[str, str]] | None = None,
        *,
        length: bool = True,
        **query: str,
    ) -> Answer:
        """``url`` is a path, or a Location. ``length`` False: the body goes in chunks, if it has any bytes."""
        if query:
            url += ("&" if "?" in url else "?") + urlencode(query)
        found = _REPOSITORY.match(urlsplit(url).path)
        key = ("" if found is None else found[1], _KINDS.get(method, method))
        answer = self._send(method, url, body, headers or [], length, self._kept.get(key, ""))
        if answer.status != 401 or not self.user:
            return answer
        token = self._token(answer.headers["www-authenticate"])
        if self.keeps:
            self._kept[key] = token
        return self._send(method, url, body, headers or [], length, token)

    def _send(
        self, method: str, url: str, body: bytes | None, headers: list[tuple[str, str]], length: bool, token: str
    ) -> Answer:
        target = urlsplit(urljoin(self.registry.url + "/", url))
        connection = self._connection
        connection.putrequest(method, target.path + (f"?{target.query}" if target.query else ""))
        for name, value in [*headers, *([("Authorization", f"Bearer {token}")] if token else [])]:
            connection.putheader(name, value)
        chunked = bool(body) and not length
        if chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        elif body is not None or method in ("POST", "PUT", "PATCH"):
            connection.putheader("Content-Length", str(len(body or b"")))
        connection.endheaders(None if not body else iter([body]) if chunked else body, encode_chunked=chunked)
        answer = connection.getresponse()
        return Answer(answer.status, _joined(answer), answer.read())

    def _token(self, challenge: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        assert scheme == "Bearer"
        named = dict(re.findall(r'([a-z]+)="(.+?)"', rest))
        query = {"service": named["service"], **({"scope": named["scope"]} if "scope" in named else {})}
        credentials = base64.b64encode(f"{self.user}:{self._password}".encode()).decode()
        connection = http.client.HTTPConnection(urlsplit(named["realm"]).netloc)
        try:
            path = f"{urlsplit(named['realm']).path}?{urlencode(query)}"
            connection.request("GET", path, headers={"Authorization": f"Basic {credentials}"})
            answer = connection.getresponse()
            assert answer.status == 200
            return str(json.loads(answer.read())["token"])
        finally:
            connection.close()


def _joined(answer: http.client.HTTPResponse) -> dict[str, str]:
    """Header names in small letters; of several lines the values with commas between."""
    found: dict[str, str] = {}
    for name, value in answer.getheaders():
        low = name.lower()
        found[low] = f"{found[low]}, {value}" if low in found else value
    return found
