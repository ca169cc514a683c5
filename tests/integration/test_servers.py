"""Servers from Debian's packages in images built here: nginx, PostgreSQL, Redis, a web application."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from integration import programs
from integration.machine import HOST, Machine, wait_until

pytestmark = pytest.mark.root

DATA = "/var/lib/postgresql/data"
SQL = ("psql", "-U", "postgres", "-d", "app", "-qAtc")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with programs.machine("nginx", "postgres", "redis", "web") as made:
        yield made


@pytest.fixture
def host(machine: Machine) -> Iterator[Machine]:
    yield machine
    programs.assert_all_goes_away(machine)


def test_nginx_is_reloaded_without_losing_a_request(host: Machine) -> None:
    host("run", "-d", "--name", "web", "-p", "8080:80", "nginx")
    wait_until(lambda: host.answers("http://127.0.0.1:8080/"))
    assert host.fetch(f"http://{HOST}:8080/", outside=True) == "first"
    workers = children(host, "web")
    assert workers
    host("exec", "web", "sh", "-c", "head -c 900 /dev/zero | tr '\\0' x >/site/slow")
    slow = host.popen("curl", "-sSf", "http://127.0.0.1:8080/slow")
    asking = "http://127.0.0.1:8080/?[1-1500]"
    many = host.popen("curl", "-sSf", "-H", "Connection: close", "-w", "%{http_code}\n", "-o", "/dev/null", asking)
    wait_until(lambda: host("logs", "web").count('"GET /?') > 20)
    host("exec", "web", "sed", "-i", "s/listen 80;/& add_header Changed yes;/", "/etc/nginx/sites-enabled/default")
    host("kill", "-s", "HUP", "web")
    wait_until(lambda: "Changed: yes" in host.run("curl", "-si", "http://127.0.0.1:8080/"))
    assert slow.poll() is None, "the reload has to come while a request is being answered"
    assert many.communicate(timeout=60)[0] == "200\n" * 1500
    assert slow.communicate(timeout=60)[0] == "x" * 900
    wait_until(lambda: not workers & children(host, "web"))
    # Both streams are there, apart, and nothing is missing.
    said = subprocess.run(**host.options("logs", "web"), capture_output=True, text=True, check=True)
    assert sum('"GET /?' in line and '" 200 ' in line for line in said.stdout.splitlines()) == 1500
    assert "signal" not in said.stdout and "GET" not in said.stderr
    host("stop", "web")  # by SIGQUIT, as its image says: it ends when all is answered
    assert host.inspect("web")["State"]["ExitCode"] == 0
    assert not host.answers("http://127.0.0.1:8080/")


def children(host: Machine, name: str) -> set[str]:
    """The processes below a container's first one, by their numbers on the host."""
    lines = host("top", name, "-o", "pid,ppid").splitlines()[1:]
    first = str(host.inspect(name)["State"]["Pid"])
    return {pid for pid, parent in (line.split() for line in lines) if parent == first}


def start_database(host: Machine, *words: str) -> None:
    host("run", "-d", "--name", "db", "-e", "POSTGRES_PASSWORD=secret", "-v", f"data:{DATA}", *words, "postgres")
    assert status(host) in ("starting", "healthy")
    wait_until(lambda: status(host) == "healthy")


def status(host: Machine) -> str:
    return host("inspect", "-f", "{{.State.Health.Status}}", "db")


def newest(host: Machine, since: str) -> str:
    return host("logs", "--since", since, "db")


def started_again(host: Machine) -> str:
    """The database's log since it was started once more, and is healthy."""
    host("start", "db")
    wait_until(lambda: status(host) == "healthy")
    return newest(host, host.inspect("db")["State"]["StartedAt"])


def test_postgresql_keeps_its_data_over_stops_kills_and_containers(host: Machine) -> None:
    start_database(host)
    assert "(healthy)" in host("ps", "--format", "{{.Status}}")
    host("exec", "db", *SQL, "CREATE TABLE kept (n int); INSERT INTO kept SELECT generate_series(1, 10000)")
    host("stop", "db")
    assert host.inspect("db")["State"]["ExitCode"] == 0
    assert host("logs", "--tail", "1", "db").endswith("database system is shut down")
    assert "database system was shut down at" in started_again(host)
    assert host("exec", "db", *SQL, "SELECT count(*), sum(n) FROM kept") == "10000|50005000"
    for kill in (lambda: host("kill", "db"), lambda: os.kill(host.inspect("db")["State"]["Pid"], signal.SIGKILL)):
        host("exec", "db", *SQL, "INSERT INTO kept VALUES (0)")
        writing = host.start("exec", "db", *SQL, "INSERT INTO kept SELECT -1 FROM generate_series(1, 100000000)")
        wait_until(lambda: "INSERT" in host("top", "db", "-o", "pid,args"))
        kill()
        assert host("wait", "db") == "137"
        writing.communicate(timeout=20)
        said = started_again(host)
        assert "was not properly shut down; automatic recovery in progress" in said and "redo done" in said
    # What was committed is there, what was not is not; and another container finds it, too.
    host("rm", "-f", "db")
    start_database(host)
    assert "initdb" not in host("logs", "db")
    assert host("exec", "db", *SQL, "SELECT count(*), sum(n) FROM kept") == "10002|50005000"
    assert host("exec", "db", *SQL, "SELECT count(*) FROM pg_stat_database WHERE checksum_failures > 0") == "0"


def test_redis_comes_back_after_a_crash(host: Machine) -> None:
    host("run", "-d", "--name", "cache", "-v", "cached:/data", "--restart", "on-failure:5", "redis")
    cli = ("exec", "cache", "redis-cli")
    wait_until(lambda: host(*cli, "ping", code=None) == "PONG")
    assert host(*cli, "set", "key", "kept") == "OK"
    host(*cli, "debug", "segfault", code=None)
    wait_until(lambda: host.inspect("cache")["RestartCount"] == 1)
    wait_until(lambda: host(*cli, "get", "key", code=None) == "kept")
    assert "crashed by signal: 11" in host("logs", "cache")
    os.kill(host.inspect("cache")["State"]["Pid"], signal.SIGKILL)
    wait_until(lambda: host.inspect("cache")["RestartCount"] == 2)
    wait_until(lambda: host(*cli, "get", "key", code=None) == "kept")
    host("stop", "cache")
    state = host.inspect("cache")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert "Redis is now ready to exit, bye bye" in host("logs", "--tail", "1", "cache")
    # Its files are its own user's.
    assert host("run", "--rm", "-v", "cached:/data", "redis", "stat", "-c", "%U", "/data", "/data/appendonlydir") == (
        "redis\nredis"
    )


def test_a_web_application_finds_its_database_by_name(host: Machine) -> None:
    host("network", "create", "--subnet", "10.99.7.0/24", "back")
    start_database(host, "--network", "back", "--network-alias", "store")
    for name, database, port in (("one", "db", "8001"), ("two", "store", "8002")):
        where = f"DATABASE=host={database} user=postgres password=secret dbname=app"
        host("run", "-d", "--name", name, "--network", "back", "-p", f"{port}:8000", "-e", where, "web")
    wait_until(lambda: host.answers("http://127.0.0.1:8001/") and host.answers("http://127.0.0.1:8002/"))
    host.run("curl", "-sSf", "-d", "one note", "http://127.0.0.1:8001/")
    assert host.run("curl", "-sSf", "-d", "another", "http://127.0.0.1:8002/") == "one note\nanother\n"
    # The neighbour reaches the application, and not the database, which publishes nothing.
    assert host.fetch(f"http://{HOST}:8001/", outside=True) == "one note\nanother"
    # The database comes back in another place, and is found there.
    address = ("inspect", "-f", "{{.NetworkSettings.Networks.back.IPAddress}}", "db")
    before = host(*address)
    host("rm", "-f", "db")
    host("run", "-d", "--name", "guest", "--network", "back", "--ip", before, "programs", "sleep", "1000")
    assert not host.answers("http://127.0.0.1:8001/")
    start_database(host, "--network", "back", "--network-alias", "store")
    assert host(*address) != before
    for port in (8001, 8002):
        assert host.fetch(f"http://127.0.0.1:{port}/") == "one note\nanother"
    assert '"POST / HTTP/1.1" 200' in host("logs", "one")
