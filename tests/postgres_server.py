"""A private PostgreSQL cluster: in a directory of its own, on a free port of the loopback, gone with the tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from pathlib import Path

import private_server


def programs() -> str:
    """The directory of the server's programs (the newest version), or ""."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if found:
        return str(found[-1].parent)
    there = shutil.which("postgres")
    return os.path.dirname(os.path.realpath(there)) if there else ""


class PostgresServer:
    """One cluster. It refuses to run as root, so root's tests run it as the user that the package makes."""

    def __init__(self) -> None:
        self._programs = programs()
        self._user = "postgres" if os.geteuid() == 0 else None
        self.directory = private_server.quick_directory("cais-postgres-")
        if self._user:
            entry = pwd.getpwnam(self._user)
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
        self._log = self.directory / "log"
        (self.port,) = private_server.free_ports(1)
        self._databases = 0
        self._schema = ""  # the name of the database that is copied
        made = subprocess.run(
            [f"{self._programs}/initdb", "-D", str(self.directory / "data"), "-U", "cais", "--no-sync", "-A", "trust",
             "--locale=C.UTF-8", "--encoding=UTF8"],
            user=self._user, group=self._user, cwd="/", capture_output=True, text=True,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Returns when it answers."""
        options = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.directory),
            "fsync": "off",  # the machine is not lost in these tests, and the pages are the kernel's when it is killed
            "max_connections": "200",
            "shared_buffers": "32MB",
        }
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        command = [f"{self._programs}/postgres", "-D", str(self.directory / "data"), *settings]
        self._process = private_server.start(command, self._log, user=self._user)
        private_server.until(self._ready, "PostgreSQL answers")

    def _ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, private_server.tail(self._log)
        command = [f"{self._programs}/pg_isready", "-q", "-h", str(self.directory), "-p", str(self.port)]
        return subprocess.run(command).returncode == 0

    def stop(self, *, kindly: bool = True) -> None:
        """Ends every session at once; ``kindly``: in order, otherwise as a crash does."""
        if self._process is not None:
            private_server.stop(self._process, by=signal.SIGINT if kindly else signal.SIGQUIT)
            self._process = None

    def query(self, sql: str, database: str = "postgres") -> str:
        """The rows of a statement, one a line."""
        command = [
            f"{self._programs}/psql",
            "-h",
            str(self.directory),
            "-p",
            str(self.port),
            "-U",
            "cais",
            "-d",
            database,
        ]
        done = subprocess.run([*command, "-AtXq", "-v", "ON_ERROR_STOP=1", "-c", sql], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def database(self, template: str = "template0") -> str:
        """The URL of a new database: an empty one, or a copy of one that nobody uses just now."""
        self._databases += 1
        name = f"test{self._databases}"
        self.query(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def with_schema(self) -> str:
        """The URL of a new database with the registry's schema."""
        if not self._schema:
            from cais.records.database import Database

            url = self.database()
            database = Database(url)
            database.upgrade()
            database.close()
            self._schema = url.rpartition("/")[2]
        return self.database(self._schema)

    def url(self, name: str) -> str:
        return f"postgresql://cais@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        self.stop(kindly=False)
        shutil.rmtree(self.directory, ignore_errors=True)
