"""Cais as a library: two containers on a network, a volume between runs, commands, logs, statistics, events.

Run it with the Python that Cais is installed in (.venv/bin/python examples/containers.py); it needs the base image
busybox (make images), and bridges: root, or a user's network of pasta. CAIS_ROOT moves the root directory.
"""

import time

import cais
from cais.errors import CaisError, NotFound

SERVER = "echo ready; while true; do echo hello | nc -l -p 7000 || exit; done"


def main() -> None:
    with cais.open() as engine:
        containers, networks, volumes = engine.containers, engine.networks, engine.volumes
        networks.create(cais.NetworkOptions("example-net"))
        volumes.create("example-data", labels={"for": "example"})
        try:
            server = containers.run(
                cais.RunOptions(
                    "busybox",
                    ["sh", "-c", SERVER],
                    name="example-server",
                    networks=["example-net"],
                    volumes=["example-data:/data"],
                    detach=True,
                    init=True,
                )
            )
            for line in containers.logs(server.id, follow=True):
                print(f"{line.stream}: {line.text.decode().rstrip()}")
                break
            for row in containers.list(filters={"name": ["example-"]}):
                print(f"{row.name} is {row.state} on {', '.join(row.networks)}")

            wrote = containers.output(server.id, ["sh", "-c", "echo kept >/data/file; cat /data/file; exit 3"])
            print(f"it wrote {wrote.stdout.decode().strip()!r} and ended with {wrote.exit_code}")

            [used] = next(containers.stats([server.id]))
            print(f"{used.name} takes {used.usage.memory_bytes} bytes of memory")

            for event in engine.system.events(0, time.time_ns(), filters={"container": [server.id]}):
                print(f"{event.kind} {event.action}")

            containers.stop(server.id, timeout_seconds=1)
            containers.remove(server.id)
            print(f"the volume is still there: {volumes.get('example-data').name}")
        finally:
            for remove in (
                lambda: containers.remove("example-server", force=True),
                lambda: networks.remove("example-net"),
                lambda: volumes.remove("example-data"),
            ):
                try:
                    remove()
                except NotFound:
                    pass
        try:
            containers.start("example-server")
        except CaisError as error:
            print(f"{error.kind}: {error.message}")


if __name__ == "__main__":
    main()
