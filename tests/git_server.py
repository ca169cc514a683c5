"""Repositories, and the ways to serve them that git itself brings: over HTTP, and by its own protocol."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from http_server import Request, Server, serving

TIME = 1_500_000_000
_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@example.com",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com",
    "GIT_ALLOW_PROTOCOL": "file:http",
}


class Repository:
    """A working tree that commits."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits = 0
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        date = f"{TIME + self.commits} +0000"
        environment = {**_ENVIRONMENT, "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
        done = subprocess.run(
            ["git", *words], cwd=self.path, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self, files: dict[str, str | bytes] | None = None) -> str:
        """Adds ``files`` and all that has changed; returns the commit."""
        for name, data in (files or {}).items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data.encode() if isinstance(data, str) else data)
        self.git("add", "--all")
        self.commits += 1
        self.git("commit", "--quiet", "--allow-empty", "--message", str(self.commits))
        return self.git("rev-parse", "HEAD")


def backend(root: Path, before: Callable[[Request], bool] = lambda request: False) -> Callable[[Request], None]:
    """Answers with ``git http-backend``; ``x.git`` is the repository in ``x``. ``before`` may answer instead."""

    def answer(request: Request) -> None:
        if before(request):
            return
        path, _, query = request.path.partition("?")
        length = int(request.headers.get("Content-Length") or 0)
        environment = {
            **_ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path.replace(".git/", "/.git/", 1),
            "QUERY_STRING": query,
            "REQUEST_METHOD": request.command,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        body = request.rfile.read(length) if length else b""
        done = subprocess.run(["git", "http-backend"], input=body, env=environment, check=True, capture_output=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        status = int(headers.pop("Status", "200").split()[0])
        request.reply(body, status, **{name.replace("-", "_"): value for name, value in headers.items()})

    return answer


@contextmanager
def served(root: Path, before: Callable[[Request], bool] = lambda request: False, **options: str) -> Iterator[Server]:
    with serving(backend(root, before), **options) as server:
        yield server
