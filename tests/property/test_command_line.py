"""``container inspect --format run``: the command line makes a container of which ``inspect`` says the same."""

from __future__ import annotations

import itertools
import json
import shlex

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cais.cli.arguments import parse
from cais.cli.call import Call
from cais.cli.commands.container_run import COMMAND
from cais.cli.container_flags import run_options
from cais.container import health, views
from cais.container.command_line import arguments
from cais.container.plan import Plan, plan
from cais.container.records import ContainerRecord
from cais.container.state import State
from cais.errors import CaisError
from cais.spec.encoding import encode

ID = "0123456789abcdef" * 4
PLAIN = {"Cmd": ["sh"]}
FULL = {
    "Entrypoint": ["/entry", "-x"], "Cmd": ["a", "b"], "Env": ["PATH=/p", "X=1"], "User": "ada", "WorkingDir": "/w",
    "Labels": {"l": "1"}, "Volumes": {"/v": {}}, "StopSignal": "SIGINT", "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Healthcheck": {"Test": ["CMD", "check"], "Interval": 3000000000, "Retries": 7},
}  # fmt: skip
DEFAULTS = {"runtime": "crun", "cgroup_namespace": "private"}


def made(image, words: list[str]) -> tuple[dict, Plan]:
    """What ``inspect`` says of the container that ``cais run WORDS`` makes of an image."""
    call = Call("run", parse(COMMAND.flags, words, words="run", interspersed=False), "", lambda: None)
    options = run_options(call)._replace(detach=call["detach"], environ={})
    decided = plan(image, options, ID, "/", lambda name, kind: name)
    # As it is kept: through JSON.
    text = encode(decided.to_json()).decode("utf-8", "surrogateescape")
    record = ContainerRecord(
        ID, options.name, "sha256:1", options.image, "", "", "", 0.0, auto_remove=options.remove, plan_json=text
    )
    document = views.inspect(record, State("created", 0, 0.0), log_path="", directory="", volume_paths={}, **DEFAULTS)
    kept = Plan.from_json(json.loads(text))
    if kept.health is not None:
        health.add_to_inspect(document, kept.health, None)
    return document, kept


def check(image, words: list[str]) -> list[str]:
    document, decided = made(image, words)
    again = arguments(document, decided.networking, image, **DEFAULTS)
    line = shlex.join(again)
    second, second_plan = made(image, shlex.split(line))
    assert second == document, line
    assert second_plan.networking == decided.networking
    assert arguments(second, second_plan.networking, image, **DEFAULTS) == again
    return again


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r", exclude_categories=("Cs",)), max_size=8)
WORD = st.text("abcXYZ019", min_size=1, max_size=6)
SIZE = st.integers(6, 4000).map(lambda number: f"{number}m")
RATE = st.builds("/dev/{}:{}kb".format, WORD, st.integers(1, 9999))
COUNT = st.builds("/dev/{}:{}".format, WORD, st.integers(1, 9999))


def flag(
    name: str, values: st.SearchStrategy[str] | None = None, *, many: bool = False
) -> st.SearchStrategy[list[str]]:
    if values is None:
        return st.just([f"--{name}"])
    one = values.map(lambda value: [f"--{name}={value}"])
    return st.lists(one, max_size=3).map(lambda found: list(itertools.chain(*found))) if many else one


def choice(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(values)


PORT = st.integers(1, 65535)
FLAGS = [
    flag("attach", choice("stdin", "STDOUT", "stderr"), many=True),
    flag("name", WORD), flag("rm"), flag("privileged"), flag("read-only"), flag("init"), flag("tty"),
    flag("interactive"), flag("oom-kill-disable"), flag("publish-all"), flag("detach"),
    flag("env", st.builds("{}={}".format, WORD, TEXT), many=True),
    flag("label", st.builds("{}={}".format, WORD, TEXT), many=True),
    flag("annotation", st.builds("{}={}".format, WORD, TEXT), many=True),
    flag("hostname", WORD), flag("domainname", WORD), flag("user", choice("0", "1:2", "bob", "ada")),
    flag("workdir", st.builds("/{}".format, WORD)), flag("entrypoint", choice("", "/entry", "/bin/x", "a b")),
    flag("stop-signal", choice("SIGINT", "SIGTERM", "9")), flag("stop-timeout", choice("0", "10", "33")),
    flag("memory", SIZE), flag("memory-swap", choice("-1", "9g")), flag("memory-reservation", choice("6m")),
    flag("memory-swappiness", choice("0", "100")), flag("cpus", choice("0.5", "1", "0.000000001", "1.25")),
    flag("cpu-shares", choice("2", "1024")), flag("cpu-period", choice("1000", "1000000")),
    flag("cpu-quota", choice("-1", "5000")), flag("cpu-rt-period", choice("5000")),
    flag("cpu-rt-runtime", choice("400")), flag("cpuset-cpus", choice("0", "0-1")), flag("cpuset-mems", choice("0")),
    flag("pids-limit", choice("-1", "0", "77")), flag("blkio-weight", choice("10", "1000")),
    flag("blkio-weight-device", st.builds("/dev/{}:{}".format, WORD, st.integers(10, 1000)), many=True),
    flag("device-read-bps", RATE, many=True), flag("device-write-bps", RATE, many=True),
    flag("device-read-iops", COUNT, many=True), flag("device-write-iops", COUNT, many=True),
    flag("ulimit", choice("nofile=1:2", "core=-1", "nproc=0"), many=True), flag("shm-size", SIZE),
    flag("oom-score-adj", choice("-1000", "500")), flag("cgroup-parent", choice("/a/b", "c")),
    flag("cap-add", choice("ALL", "net_admin", "CAP_SYS_TIME"), many=True),
    flag("cap-drop", choice("ALL", "mknod"), many=True),
    flag("security-opt", choice("no-new-privileges", "seccomp=unconfined", "label=disable", "apparmor=p q",
                                "systempaths=unconfined", 'seccomp={"defaultAction":"SCMP_ACT_ALLOW"}'), many=True),
    flag("sysctl", choice("net.ipv4.ip_forward=1", "kernel.msgmax=5"), many=True),
    flag("group-add", choice("wheel", "77"), many=True),
    flag("device", choice("/dev/null", "/dev/null:/dev/x", "/dev/null:r", "/dev/null:/dev/x:rw", "v.com/c=a"),
         many=True),
    flag("device-cgroup-rule", choice("c 1:3 rwm", "b *:* m"), many=True),
    flag("gpus", choice("all", "2", "device=0", 'driver=nvidia,"device=0,1","capabilities=utility",options=a')),
    flag("pid", choice("host", "container:other")), flag("uts", choice("host")), flag("userns", choice("host")),
    flag("ipc", choice("none", "private", "shareable", "host", "container:other")),
    flag("cgroupns", choice("host", "private")), flag("runtime", choice("runc", "/usr/bin/crun")),
    flag("storage-opt", choice("size=10g")), flag("isolation", choice("default")),
    flag("restart", choice("no", "always", "on-failure:3", "unless-stopped")),
    flag("volume", choice("/tmp:/x:ro", "data:/y", "/anonymous", "/tmp:/z:rshared"), many=True),
    flag("tmpfs", choice("/run", "/t:size=1m,mode=700"), many=True),
    flag("mount", choice("type=bind,src=/tmp,dst=/b,readonly", 'type=volume,dst=/c,"volume-opt=o=a,b",volume-label=l=m',
                         "type=tmpfs,dst=/d,tmpfs-size=1m,tmpfs-mode=700", "type=volume,src=n,dst=/e,volume-nocopy",
                         "type=bind,src=/tmp,dst=/f,bind-propagation=rslave"), many=True),
    flag("network", choice("none", "host", "container:other", "mine", "bridge")),
    flag("network", choice("name=mine,alias=a,alias=b,ip=10.0.0.5,mac-address=02:00:00:00:00:01", "other"), many=True),
    flag("publish", st.one_of(PORT.map(str), st.builds("127.0.0.1:{}:{}/udp".format, PORT, PORT), choice(
        "[::1]:80:80", "8000-8005:80", "127.0.0.1::9", "1.2.3.4:70-71:70-71/tcp")), many=True),
    flag("expose", choice("80", "53/udp", "7000-7002"), many=True),
    flag("dns", choice("1.1.1.1"), many=True), flag("dns-search", choice("a.org"), many=True),
    flag("dns-option", choice("ndots:1"), many=True),
    flag("add-host", choice("a:1.2.3.4", "b:host-gateway"), many=True),
    flag("link", choice("x:y", "z"), many=True),
    flag("health-cmd", choice("true", "a 'b'")), flag("health-interval", choice("3s", "1500ms")),
    flag("health-timeout", choice("1m")), flag("health-retries", choice("3", "7")),
    flag("health-start-period", choice("5s")),
    flag("health-start-interval", choice("1s")), flag("no-healthcheck"),
]  # fmt: skip
LINES = st.builds(
    lambda flags, words: [*itertools.chain(*flags), "image:1", *words],
    st.lists(st.one_of(FLAGS), max_size=6),
    st.lists(TEXT.filter(lambda text: "\n" not in text), max_size=3),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from((PLAIN, FULL)), LINES)
def test_round_trip(image, words):
    try:
        made(image, words)
    except CaisError:
        return  # flags that do not go together
    check(image, words)


@pytest.mark.parametrize("number", range(len(FLAGS)))
@settings(max_examples=8, deadline=None)
@given(st.data())
def test_each_flag(number, data):
    words = data.draw(FLAGS[number])
    try:
        made(PLAIN, [*words, "image"])
    except CaisError:
        return
    check(PLAIN, [*words, "image"])
    check(FULL, [*words, "image"])


def test_what_is_the_images_own_is_not_said():
    assert check(FULL, ["--name=n", "image"]) == ["--name=n", "image"]
    assert check(PLAIN, ["--name=n", "image"]) == ["--name=n", "image"]


def test_what_differs_from_the_image_is():
    words = ["--name=n", "-e", "X=2", "-l", "l=1", "-l", "m=2", "--entrypoint", "/entry", "--stop-signal", "TERM"]
    assert check(FULL, [*words, "image", "a b"]) == [
        "--name=n", "--env=X=2", "--label=m=2", "--stop-signal=TERM", "--entrypoint=/entry", "image", "a b",
    ]  # fmt: skip
