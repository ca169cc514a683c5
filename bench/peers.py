"""The tools that are compared, each as a small set of command lines."""

from __future__ import annotations

import os
import shutil
import time
from typing import ClassVar, NamedTuple

from places import Outcome, Place, end, start, timed

BASE_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TMPDIR": "/var/tmp",
}


class Build(NamedTuple):
    """What a build is asked for."""

    context: str
    tag: str
    file: str = ""
    cached: bool = True
    network: str = ""
    more: tuple[str, ...] = ()  # other words of the command line


class Peer:
    """A tool with its own storage below ``work``. ``builds``, ``runs``, ``keeps``, ``carries`` (a build cache in a
    directory or a registry), ``foresees`` (what a prune would take), ``copies`` (images from place to place): which
    kinds of work it can do."""

    name = ""
    builds = runs = keeps = True
    carries = foresees = copies = False

    def __init__(self, work: str, place: Place | None) -> None:
        self.work = os.path.join(work, self.name.replace(" ", "-"))
        os.makedirs(self.work, exist_ok=True)
        self.place = place
        self.env = dict(BASE_ENV)
        self.peak_memory_bytes: dict[str, int] = {}

    def command(self, *words: str) -> list[str]:
        raise NotImplementedError

    def do(self, kind: str, *words: str) -> Outcome:
        """Run the tool; remember the largest peak memory of this kind of command."""
        done = timed(self.command(*words), self.place, self.env, os.path.join(self.work, "output"))
        self.peak_memory_bytes[kind] = max(self.peak_memory_bytes.get(kind, 0), done.peak_memory_bytes)
        return done

    def version(self) -> str:
        return self.do("version", "--version").ok().output.decode().strip().splitlines()[0]

    def start(self) -> None:
        """Make ready what the commands need (a daemon)."""

    def stop(self) -> None:
        """End it."""

    def build(self, wanted: Build) -> Outcome:
        words = ["build", "-q", "-t", wanted.tag]
        words += ["-f", wanted.file] if wanted.file else []
        words += [] if wanted.cached else ["--no-cache"]
        words += [f"--network={wanted.network}"] if wanted.network else []
        return self.do("build", *words, *wanted.more, wanted.context)

    def forget_builds(self, tag: str, *words: str) -> None:
        """What was built goes, with the image ``tag``; what is kept for builds goes, too, as far as ``words`` say."""
        self.forget(tag).ok()
        self.do("prune", "builder", "prune", "-af", *words).ok()

    def run(self, image: str, network: str) -> Outcome:
        return self.do("run", "run", "--rm", "--network", network, image, "true")

    def save(self, image: str, path: str) -> Outcome:
        return self.do("save", "save", "-o", path, image)

    def load(self, path: str) -> Outcome:
        return self.do("load", "load", "-q", "-i", path)

    def push(self, image: str) -> Outcome:
        return self.do("push", "push", "-q", image)

    def pull(self, image: str) -> Outcome:
        return self.do("pull", "pull", "-q", image)

    def forget(self, image: str) -> Outcome:
        return self.do("rmi", "rmi", "-f", image)

    def remove_containers(self, *words: str) -> None:
        """Those that an interrupted case has left, too: without a daemon they would go on."""
        left = self.do("ps", "ps", "-aq").output.decode().split()
        if left:
            self.do("rm", "rm", "-f", *words, *left)

    def list(self) -> Outcome:
        return self.do("images", "images")


class Cais(Peer):
    name = "cais"
    carries = foresees = copies = True

    def __init__(self, work: str, place: Place | None, path: str) -> None:
        super().__init__(work, place)
        self.path = path
        self.env["CAIS_ROOT"] = os.path.join(self.work, "root")

    def command(self, *words: str) -> list[str]:
        return [self.path, *words]

    def stop(self) -> None:
        self.remove_containers()


class Docker(Peer):
    """The docker client with a daemon of its own; ``kind``: classic, BuildKit (in the daemon), buildx (the plugin)."""

    daemons: ClassVar[dict[int, tuple[int, str]]] = {}  # by holder of the place: one daemon for two builders
    storage = ("--storage-driver", "overlay2")

    def __init__(self, work: str, place: Place, kind: str, client: str) -> None:
        self.name = f"docker {kind}"
        super().__init__(work, place)
        self.kind, self.client, self.area = kind, client, work
        self.runs = self.keeps = kind != "classic"  # the same daemon: once is enough
        self.env["DOCKER_BUILDKIT"] = "0" if kind == "classic" else "1"
        self.env["DOCKER_CONFIG"] = self.work

    def command(self, *words: str) -> list[str]:
        return [self.client, "-H", f"unix://{self.socket}", *words]

    @property
    def socket(self) -> str:
        return Docker.daemons[self.place.holder][1] if self.place else ""

    def version(self) -> str:
        server = self.do("version", "version", "--format", "{{.Server.Version}}").ok().output.decode().strip()
        return f"docker {server}"

    def start(self) -> None:
        assert self.place is not None
        if self.place.holder in Docker.daemons:
            return
        area = os.path.join(self.area, f"dockerd-{self.place.holder}")
        os.makedirs(area)
        socket = os.path.join(area, "socket")
        argv = ["dockerd", "--data-root", f"{area}/data", "--exec-root", f"{area}/exec", "-H", f"unix://{socket}"]
        argv += ["--pidfile", f"{area}/pid", "--log-level", "warn", *self.storage]
        daemon = start(argv, self.place, self.env, f"{area}/log")
        Docker.daemons[self.place.holder] = (daemon, socket)
        deadline = time.monotonic() + 60
        while self.do("version", "version").exit_code != 0:
            ended, _ = os.waitpid(daemon, os.WNOHANG)
            if ended or time.monotonic() > deadline:
                with open(f"{area}/log", encoding="utf-8", errors="replace") as log:
                    raise RuntimeError("dockerd did not start:\n" + log.read()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        assert self.place is not None
        daemon, _ = Docker.daemons.pop(self.place.holder, (0, ""))
        if daemon:
            end(daemon)


class Containerd(Docker):
    """BuildKit in a daemon that keeps images as containerd does: only there it carries its cache elsewhere."""

    builds = runs = keeps = False  # the other daemon's are the same
    carries = True

    def __init__(self, work: str, place: Place, client: str) -> None:
        super().__init__(work, place, "containerd", client)
        self.runs = self.keeps = False
        settings = os.path.join(self.work, "daemon.json")
        with open(settings, "w", encoding="ascii") as file:
            file.write('{"features": {"containerd-snapshotter": true}}')
        self.storage = ("--config-file", settings)

    def start(self) -> None:
        super().start()
        told = self.do("version", "info", "--format", "{{.DriverStatus}}").ok().output
        if b"io.containerd.snapshotter" not in told:
            raise RuntimeError("this daemon cannot keep images in containerd")


def modest_limits(work: str) -> str:
    """A containers.conf whose limits every machine allows: podman asks for more than a small one may give."""
    path = os.path.join(work, "containers.conf")
    with open(path, "w", encoding="ascii") as file:
        file.write('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n')
    return path


class Podman(Peer):
    name = "podman"

    def __init__(self, work: str, place: Place | None) -> None:
        super().__init__(work, place)
        self.env["CONTAINERS_CONF"] = modest_limits(self.work)

    def command(self, *words: str) -> list[str]:
        area = ["--root", f"{self.work}/root", "--runroot", f"{self.work}/run", "--storage-driver", "overlay"]
        return ["podman", *area, "--cgroup-manager", "cgroupfs", "--events-backend", "file", *words]

    def stop(self) -> None:
        self.remove_containers("--time", "0")

    def version(self) -> str:
        return timed(["podman", "--version"], self.place, self.env, f"{self.work}/output").output.decode().strip()

    def push(self, image: str) -> Outcome:
        return self.do("push", "push", "-q", "--tls-verify=false", image)

    def pull(self, image: str) -> Outcome:
        return self.do("pull", "pull", "-q", "--tls-verify=false", image)


class Buildah(Peer):
    name = "buildah"
    runs = keeps = False  # podman is the same storage and runs the same runtime

    def __init__(self, work: str, place: Place | None) -> None:
        super().__init__(work, place)
        self.env["CONTAINERS_CONF"] = modest_limits(self.work)

    def command(self, *words: str) -> list[str]:
        area = ["--root", f"{self.work}/root", "--runroot", f"{self.work}/run", "--storage-driver", "overlay"]
        return ["buildah", *area, *words]

    def version(self) -> str:
        told = timed(["buildah", "--version"], self.place, self.env, f"{self.work}/output").output.decode()
        return " ".join(told.split()[:3])

    def build(self, wanted: Build) -> Outcome:
        words = ["build", "-q", "-t", wanted.tag]
        words += ["-f", wanted.file] if wanted.file else []
        words += ["--layers"] if wanted.cached else ["--layers", "--no-cache"]
        words += [f"--network={wanted.network}"] if wanted.network else []
        return self.do("build", *words, wanted.context)

    def load(self, path: str) -> Outcome:
        return self.do("load", "pull", "-q", f"docker-archive:{path}")


def found_in(root: str, command: str) -> bool:
    """Whether the system below ``root`` has the command."""
    path = ":".join(root.rstrip("/") + part for part in BASE_ENV["PATH"].split(":"))
    return shutil.which(command, path=path) is not None
