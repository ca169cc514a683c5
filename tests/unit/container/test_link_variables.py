"""The variables of ``--link``."""

from __future__ import annotations

from typing import Any

from cais.container.link_variables import kept, variables

# What Docker 26 says of such a container.
WEB = """WEB_APP_PORT=tcp://172.17.0.2:53
WEB_APP_PORT_80_TCP_START=tcp://172.17.0.2:80
WEB_APP_PORT_80_TCP_ADDR=172.17.0.2
WEB_APP_PORT_80_TCP_PROTO=tcp
WEB_APP_PORT_80_TCP_PORT_START=80
WEB_APP_PORT_80_TCP_END=tcp://172.17.0.2:82
WEB_APP_PORT_80_TCP_PORT_END=82
WEB_APP_PORT_53_TCP=tcp://172.17.0.2:53
WEB_APP_PORT_53_TCP_ADDR=172.17.0.2
WEB_APP_PORT_53_TCP_PORT=53
WEB_APP_PORT_53_TCP_PROTO=tcp
WEB_APP_PORT_53_UDP=udp://172.17.0.2:53
WEB_APP_PORT_53_UDP_ADDR=172.17.0.2
WEB_APP_PORT_53_UDP_PORT=53
WEB_APP_PORT_53_UDP_PROTO=udp
WEB_APP_PORT_80_TCP=tcp://172.17.0.2:80
WEB_APP_PORT_80_TCP_PORT=80
WEB_APP_PORT_81_TCP=tcp://172.17.0.2:81
WEB_APP_PORT_81_TCP_ADDR=172.17.0.2
WEB_APP_PORT_81_TCP_PORT=81
WEB_APP_PORT_81_TCP_PROTO=tcp
WEB_APP_PORT_82_TCP=tcp://172.17.0.2:82
WEB_APP_PORT_82_TCP_ADDR=172.17.0.2
WEB_APP_PORT_82_TCP_PORT=82
WEB_APP_PORT_82_TCP_PROTO=tcp
WEB_APP_PORT_443_TCP=tcp://172.17.0.2:443
WEB_APP_PORT_443_TCP_ADDR=172.17.0.2
WEB_APP_PORT_443_TCP_PORT=443
WEB_APP_PORT_443_TCP_PROTO=tcp
WEB_APP_NAME=/app/web-app
WEB_APP_ENV_COLOUR=red
WEB_APP_ENV_EMPTY=
"""


def test_as_dockers() -> None:
    exposed = ("82/tcp", "80/tcp", "53/udp", "81/tcp", "443/tcp", "53/tcp")
    found = variables("app", "web-app", "172.17.0.2", exposed, ("PATH=/bin", "HOME=/", "COLOUR=red", "EMPTY="))
    assert set(found) == set(WEB.splitlines()) and found[0] == WEB.splitlines()[0]
    assert variables("app", "db", "10.0.0.2", ("80/tcp", "81/tcp"), ())[1] == "DB_PORT_80_TCP=tcp://10.0.0.2:80"
    assert variables("app", "db", "10.0.0.2", (), ()) == ["DB_NAME=/app/db"]


def test_only_those_of_links_are_kept() -> None:
    plan: dict[str, Any] = {"networking": {"networks": [{"network": "bridge", "links": ["x:db"]}]}}
    given = ("PATH=/bin", "DB_NAME=/app/db", "DBX=1", "OTHER_NAME=x")
    assert kept(given, plan) == ["DB_NAME=/app/db"]
    plan["networking"]["networks"][0]["network"] = "own"
    assert kept(given, plan) == [] and kept(given, {}) == []
