"""A private nginx that gives each request to the next of several servers, in turn."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import private_server

_SETTINGS = """\
daemon off;
worker_processes 1;
pid {directory}/pid;
error_log {directory}/log warn;
{user}
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    {sites}
}}
"""
_BALANCER = """\
upstream replicas {{
    {upstreams}
}}
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location / {{
        proxy_pass http://replicas;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $http_host;
        proxy_set_header X-Forwarded-For $remote_addr;
        proxy_set_header X-Forwarded-Proto $scheme;
        proxy_request_buffering off;
        proxy_buffering off;
        proxy_read_timeout 900s;
        proxy_send_timeout 900s;
    }}
}}
"""


def lacking() -> str:
    """Why it cannot be started here, or ""."""
    return "" if shutil.which("nginx", path=_PATH) else "needs nginx (package nginx-light)"


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"


@contextmanager
def balancing(upstreams: Sequence[int]) -> Iterator[int]:
    """The port of a balancer over those ports. A server that does not answer is left out for a second."""
    (port,) = private_server.free_ports(1)
    servers = " ".join(f"server 127.0.0.1:{one} max_fails=1 fail_timeout=1s;" for one in upstreams)
    with serving(_BALANCER.format(port=port, upstreams=servers), port):
        yield port


@contextmanager
def serving(sites: str, port: int) -> Iterator[None]:
    """What stands in ``http { }`` of its settings; it has to listen on ``port``."""
    directory = Path(tempfile.mkdtemp(prefix="cais-nginx-", dir="/tmp"))
    user = "user root;" if os.geteuid() == 0 else ""
    settings = directory / "nginx.conf"
    settings.write_text(_SETTINGS.format(directory=directory, user=user, sites=sites))
    log = directory / "log"
    command = [str(shutil.which("nginx", path=_PATH)), "-c", str(settings), "-e", str(log)]
    process = private_server.start(command, log)
    try:
        private_server.until(lambda: process.poll() is not None or private_server.answers(port), "nginx answers")
        assert process.poll() is None, private_server.tail(log)
        yield
    finally:
        private_server.stop(process, by=signal.SIGTERM, seconds=3)
        shutil.rmtree(directory, ignore_errors=True)
