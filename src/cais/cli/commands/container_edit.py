"""``cais container edit``."""

from __future__ import annotations

from cais.cli.container_flags import FLAGS
from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

# Flags of ``run``, and the fields of RunOptions that they fill.
_FIELDS = {
    "add-host": "add_hosts", "dns": "dns", "dns-option": "dns_options", "dns-search": "dns_search",
    "domainname": "domainname", "entrypoint": "entrypoint", "env": "env", "env-file": "env_files", "expose": "expose",
    "group-add": "group_add", "health-cmd": "health_cmd", "health-interval": "health_interval_nanoseconds",
    "health-retries": "health_retries", "health-start-interval": "health_start_interval_nanoseconds",
    "health-start-period": "health_start_period_nanoseconds", "health-timeout": "health_timeout_nanoseconds",
    "hostname": "hostname", "init": "init", "interactive": "interactive", "label": "labels",
    "label-file": "label_files", "mount": "mounts", "no-healthcheck": "no_healthcheck", "publish": "publish",
    "publish-all": "publish_all", "read-only": "read_only", "restart": "restart", "shm-size": "shm_size",
    "stop-signal": "stop_signal", "stop-timeout": "stop_timeout_seconds", "tmpfs": "tmpfs", "tty": "tty",
    "user": "user", "volume": "volumes", "workdir": "workdir",
}  # fmt: skip

COMMAND = Command(
    "[OPTIONS] CONTAINER [COMMAND] [ARG...]",
    "Change ports, mounts, variables of a container that is there.\n\nIts id, name, file system, volumes and log stay. "
    "One that runs is stopped and started again; where it does not start with the change, it runs on as it was. What "
    "flags name is added or takes the place of what was there; COMMAND takes the place of its command. For limits see "
    "'update', for networks 'network connect'.",
    arguments=(1, None),
    interspersed=False,
    complete="container",
    flags=tuple(
        sorted(
            (
                *(flag for flag in FLAGS if flag.long in _FIELDS),
                Flag("env-rm", "", "list", "Remove an environment variable"),
                Flag("help", "", "", "Print usage"),
                Flag("label-rm", "", "list", "Remove a label"),
                Flag("mount-rm", "", "list", "Remove what is mounted at a path of the container"),
                Flag("publish-rm", "", "list", "Publish a container's port no more (80, 80/udp, 8080:80)"),
            ),
            key=lambda flag: flag.long,
        )
    ),
    examples=(
        "cais container edit --publish 8080:80 --env DEBUG=1 web",
        "cais container edit --mount-rm /old -v data:/srv web",
    ),
)


def run(call: Call) -> int:
    import os

    from cais.cli.call import say, warn
    from cais.cli.container_flags import absolute_mount, absolute_volume
    from cais.engine.container_edit import Edits
    from cais.engine.containers import RunOptions

    name, *command = call.arguments
    said = {flag: field for flag, field in _FIELDS.items() if flag in call.said}
    given = {field: call[flag] for flag, field in said.items()}
    if "shm_size" in given:
        given["shm_size"] = str(given["shm_size"])
    if "volumes" in given:
        given["volumes"] = [absolute_volume(text) for text in given["volumes"]]
    if "mounts" in given:
        given["mounts"] = [absolute_mount(text) for text in given["mounts"]]
    fields = set(said.values())
    if command:
        given["command"] = command
        fields.add("command")
    edits = Edits(
        RunOptions("", environ=dict(os.environ), **given),
        frozenset(fields),
        call["publish-rm"],
        call["env-rm"],
        call["label-rm"],
        call["mount-rm"],
    )
    call.engine.containers.edit(name, edits, warn)
    say(name)
    return 0
