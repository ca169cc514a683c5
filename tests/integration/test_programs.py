"""Programs from Debian's packages in images built here: servers, a web application, shells, a container of several."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from container_process import Terminal, wait_until

from integration import programs
from integration.machine import HOST, Machine

pytestmark = pytest.mark.root

DATA = "/var/lib/postgresql/data"
SQL = ("psql", "-U", "postgres", "-d", "app", "-qAtc")


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with programs.machine("nginx", "postgres", "redis", "web", "supervisor") as made:
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
    wait_until(lambda: status(host) == "healthy", 60)


def status(host: Machine) -> str:
    return host("inspect", "-f", "{{.State.Health.Status}}", "db")


def newest(host: Machine, since: str) -> str:
    return host("logs", "--since", since, "db")


def started_again(host: Machine) -> str:
    """The database's log since it was started once more, and is healthy."""
    host("start", "db")
    wait_until(lambda: status(host) == "healthy", 60)
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
    assert "CREATE TABLE public.kept" in host("exec", "db", "pg_dump", "-U", "postgres", "--schema-only", "app")
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


def at_terminal(host: Machine, *words: str) -> Terminal:
    options = host.options(*words)
    return Terminal(options["args"], options["env"], 33, 77)


def foreground(pid: int) -> int:
    """The process group that has the terminal of ``pid`` in front (proc(5), /proc/pid/stat, field 8)."""
    with open(f"/proc/{pid}/stat") as stat:
        return int(stat.read().rpartition(")")[2].split()[5])


SHELL = ("run", "-it", "--name", "work", "--hostname", "work", "-e", "PS1=$ ", "--network", "none")


def test_a_shell_with_job_control(host: Machine) -> None:
    terminal = at_terminal(host, *SHELL, "programs", "bash", "--norc", "--noediting")
    terminal.read_until("$ ")
    terminal.type("stty size; tty; echo $-\n")
    said = terminal.read_until("m")
    terminal.read_until("$ ")
    assert "33 77\r\n/dev/pts/0\r\n" in said
    # Stopped by its key, on in the background, back, and ended by its key: the shell goes on.
    terminal.type("sleep 1000\n")
    wait_until(lambda: "sleep 1000" in host("top", "work"))
    terminal.type(b"\x1a")
    assert re.search(r"\[1\]\+\s+Stopped\s+sleep 1000", terminal.read_until("$ "))
    terminal.type("bg; jobs\n")
    assert re.search(r"\[1\]\+ sleep 1000 &\r\n\[1\]\+\s+Running\s+sleep 1000 &", terminal.read_until("$ "))
    # The shell says what it puts in front before it gives it the terminal.
    shell = host.inspect("work")["State"]["Pid"]
    terminal.type("fg\n")
    terminal.read_until("sleep 1000\r\n")
    wait_until(lambda: foreground(shell) != shell)
    terminal.type(b"\x03")
    terminal.read_until("^C")
    terminal.read_until("$ ")
    terminal.type("echo code=$?\n")
    assert "code=130" in terminal.read_until("130")
    # A new size is told to who is in front, and seen.
    terminal.type('bash -c \'trap "stty size; exit 3" WINCH; echo rea""dy; while true; do sleep 0.05; done\'\n')
    terminal.read_until("ready\r\n")
    terminal.resize(50, 120)
    terminal.read_until("50 120\r\n")
    terminal.read_until("$ ")
    terminal.type("exit 7\n")
    assert terminal.wait() == 7
    assert terminal.is_restored
    terminal.close()
    assert host.inspect("work")["State"]["ExitCode"] == 7


@pytest.mark.parametrize(("words", "keys"), [((), b"\x10\x11"), (("--detach-keys", "ctrl-x,d"), b"\x18d")])
def test_a_shell_is_left_and_found_again(host: Machine, words: tuple[str, ...], keys: bytes) -> None:
    terminal = at_terminal(host, *SHELL, *words, "programs", "bash", "--norc", "--noediting")
    terminal.read_until("$ ")
    terminal.type("kept=here; sleep 1000 &\n")
    terminal.read_until("$ ")
    terminal.type(keys)
    assert terminal.wait() == 0
    assert terminal.is_restored
    terminal.close()
    assert host("ps", "--format", "{{.Names}}") == "work"
    terminal = at_terminal(host, "attach", *words, "work")
    terminal.type('until [ "$(stty size)" = \'33 77\' ]; do sleep 0.05; done; echo "still $kept"; jobs\n')
    terminal.read_until("still here")
    assert re.search(r"\r\n\[1\]\+\s+Running\s+sleep 1000 &", terminal.read_until("&"))
    terminal.type("exit\n")
    assert terminal.wait() == 0
    terminal.close()
    assert host.inspect("work")["State"]["Status"] == "exited"


def test_another_shell_beside_it(host: Machine) -> None:
    host("run", "-d", "--name", "work", "--network", "none", "programs", "sleep", "1000")
    terminal = at_terminal(host, "exec", "-it", "-e", "PS1=$ ", "work", "bash", "--norc", "--noediting")
    terminal.read_until("$ ")
    terminal.type("sleep 2000\n")
    wait_until(lambda: "sleep 2000" in host("top", "work"))
    terminal.type(b"\x1a")
    assert "Stopped" in terminal.read_until("$ ")
    terminal.type("kill %1; fg; exit 9\n")
    assert terminal.wait() == 9
    assert terminal.is_restored
    terminal.close()
    wait_until(lambda: "sleep 2000" not in host("top", "work"))


def bodies(host: Machine, name: str) -> list[str]:
    """The orphans that have ended and were not waited for."""
    lines = [line.split() for line in host("exec", name, "ps", "-eo", "pid=,ppid=,stat=").splitlines()]
    assert max(int(pid) for pid, _, _ in lines) > 50, "none can have ended yet"
    return [pid for pid, parent, state in lines if parent == "1" and state.startswith("Z")]


def test_an_init_with_several_children(host: Machine) -> None:
    if not any(map(shutil.which, ("docker-init", "tini-static", "catatonit", "tini"))):
        pytest.skip("needs an init (package tini)")
    host("run", "-d", "--name", "all", "--init", "--network", "none", "supervisor")
    wait_until(lambda: "worker starts" in host("logs", "all"))
    # A service that is killed is started again by its supervisor.
    service = re.findall(r"web starts as (\d+)", host("logs", "all"))[0]
    host("exec", "all", "kill", "-9", service)
    wait_until(lambda: host("logs", "all").count("web starts") == 2)
    # Orphans come and go: there is a moment without a body, which would not come again if they stayed.
    wait_until(lambda: "PID 50" in host("exec", "all", "sh", "-c", "sh -c 'test $$ -gt 50' && echo PID 50", code=None))
    wait_until(lambda: not bodies(host, "all"))
    pids = [int(line.split()[0]) for line in host("top", "all", "-o", "pid").splitlines()[1:]]
    assert len(pids) >= 5
    host("stop", "all")
    state = host.inspect("all")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0)
    assert host("logs", "--tail", "3", "all").splitlines() == ["web ends", "worker ends", "all ended"]
    # The one in a session of its own, which hears no signal, is gone with the container.
    wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))


@pytest.fixture(scope="module")
def users_machine(ordinary_account: Any, python: tuple[str, str]) -> Iterator[Machine]:
    with programs.machine("nginx", "redis", account=ordinary_account, python=python) as made:
        yield made


def test_servers_of_an_ordinary_user(users_machine: Machine) -> None:
    host = users_machine
    host("run", "-d", "--name", "web", "-p", "8080:8080", "--user", "www-data", "nginx")
    host("run", "-d", "--name", "cache", "-p", "6379:6379", "-v", "cached:/data", "--restart", "always", "redis")
    wait_until(lambda: host.answers("http://127.0.0.1:8080/"))
    assert host.fetch(f"http://{HOST}:8080/", outside=True) == "first"
    workers = children(host, "web")
    assert workers
    host("kill", "-s", "HUP", "web")
    wait_until(lambda: children(host, "web") and not workers & children(host, "web"))
    assert host.fetch("http://127.0.0.1:8080/") == "first"
    assert host("exec", "web", "id", "-un") == "www-data"
    cli = ("exec", "cache", "redis-cli")
    wait_until(lambda: host(*cli, "ping", code=None) == "PONG")
    assert host(*cli, "set", "key", "kept") == "OK"
    host(*cli, "debug", "segfault", code=None)
    wait_until(lambda: host.inspect("cache")["RestartCount"] == 1)
    wait_until(lambda: host(*cli, "get", "key", code=None) == "kept")
    asked = host.popen("sh", "-c", "printf 'get key\\r\\nquit\\r\\n' | curl -s --max-time 5 telnet://127.0.0.1:6379")
    assert "kept" in asked.communicate(timeout=20)[0]
    for name in ("web", "cache"):
        host("stop", name)
        assert host.inspect(name)["State"]["ExitCode"] == 0
    assert not host.answers("http://127.0.0.1:8080/")
    host("rm", "web", "cache")
    host("volume", "rm", "cached")
    wait_until(host.nothing_left)
