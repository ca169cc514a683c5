"""What ``run`` and ``create`` share: the flags, and the engine's options made of them."""

from __future__ import annotations

from cais.cli.declare import BadValue, Flag
from cais.cli.list_flags import platform
from cais.cli.values import environment, label, ulimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call
    from cais.engine.containers import RunOptions


def host_mapping(text: str) -> None:
    name, separator, _address = text.partition("=" if "=" in text else ":")
    if not separator or not name:
        raise BadValue(f'bad format for add-host: "{text}"')


FLAGS = (
    Flag("add-host", "", "list", "Add a custom host-to-IP mapping (host:ip)", check=host_mapping),
    Flag("annotation", "", "map", "Add an annotation to the container (passed through to the OCI runtime)"),
    Flag("cap-add", "", "list", "Add Linux capabilities"),
    Flag("cap-drop", "", "list", "Drop Linux capabilities"),
    Flag("cidfile", "", "string", "Write the container ID to the file", complete="file"),
    Flag("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    Flag("cpus", "", "decimal", "Number of CPUs"),
    Flag("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag("dns", "", "list", "Set custom DNS servers"),
    Flag("entrypoint", "", "string", "Overwrite the default ENTRYPOINT of the image"),
    Flag("env", "e", "list", "Set environment variables", check=environment),
    Flag("env-file", "", "list", "Read in a file of environment variables", complete="file"),
    Flag("group-add", "", "list", "Add additional groups to join"),
    Flag("help", "", "", "Print usage"),
    Flag("hostname", "h", "string", "Container host name"),
    Flag("init", "", "", "Run an init inside the container that forwards signals and reaps processes"),
    Flag("interactive", "i", "", "Keep STDIN open even if not attached"),
    Flag("label", "l", "list", "Set meta data on a container", check=label),
    Flag("label-file", "", "list", "Read in a line delimited file of labels", complete="file"),
    Flag("memory", "m", "bytes", "Memory limit"),
    Flag("memory-reservation", "", "bytes", "Memory soft limit"),
    Flag("memory-swap", "", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    Flag("mount", "", "mount", "Attach a filesystem mount to the container"),
    Flag("name", "", "string", "Assign a name to the container"),
    Flag("network", "", "network", "Connect a container to a network (none|host)", complete="none,host"),
    Flag("net", "", "network", hidden=True),
    Flag("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
    platform("Set platform if server is multi-platform capable"),
    # There is no registry to pull from: what is not here is never pulled.
    Flag("pull", "", "string", hidden=True, default="missing"),
    Flag("quiet", "q", "", hidden=True),
    Flag("read-only", "", "", "Mount the container's root filesystem as read only"),
    Flag("rm", "", "", "Automatically remove the container and its associated anonymous volumes when it exits"),
    Flag("security-opt", "", "list", "Security Options"),
    Flag("shm-size", "", "bytes", "Size of /dev/shm"),
    Flag("stop-signal", "", "string", "Signal to stop the container"),
    Flag("stop-timeout", "", "int", "Timeout (in seconds) to stop a container"),
    Flag("sysctl", "", "map", "Sysctl options"),
    Flag("tmpfs", "", "list", "Mount a tmpfs directory"),
    Flag("tty", "t", "", "Allocate a pseudo-TTY"),
    Flag("ulimit", "", "ulimit", "Ulimit options", check=ulimit),
    Flag("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    Flag("volume", "v", "list", "Bind mount a volume"),
    Flag("workdir", "w", "string", "Working directory inside the container"),
)


def run_options(call: Call) -> RunOptions:
    """What the flags ask for. Raises Invalid, Unsupported, Conflict (a --cidfile that is there)."""
    import os

    from cais.engine.containers import RunOptions
    from cais.errors import Conflict, Invalid, Unsupported

    if call["pull"] not in ("missing", "never", "always"):
        raise Invalid(f'invalid pull option: {call["pull"]!r}: must be one of "always", "missing" or "never"')
    if call["pull"] == "always":
        raise Unsupported("--pull=always is not supported by this version of cais")
    if call["cidfile"] and os.path.exists(call["cidfile"]):
        raise Conflict(
            f"container ID file found, make sure the other container isn't running or delete {call['cidfile']}"
        )

    def size(flag: str) -> str:
        return "" if call[flag] is None else str(call[flag])

    cpus = call["cpus"]
    return RunOptions(
        image=call.arguments[0],
        command=call.arguments[1:],
        name=call["name"],
        env=call["env"],
        env_files=call["env-file"],
        environ=dict(os.environ),
        workdir=call["workdir"],
        user=call["user"],
        group_add=call["group-add"],
        volumes=[_absolute_volume(text) for text in call["volume"]],
        mounts=[_absolute_mount(text) for text in call["mount"]],
        tmpfs=call["tmpfs"],
        network=call["network"] or call["net"] or "default",
        interactive=call["interactive"],
        tty=call["tty"],
        remove=call["rm"],
        entrypoint=call["entrypoint"] if "entrypoint" in call.said else None,
        hostname=call["hostname"],
        add_hosts=call["add-host"],
        dns=call["dns"],
        read_only=call["read-only"],
        cap_add=call["cap-add"],
        cap_drop=call["cap-drop"],
        security_opt=call["security-opt"],
        memory=size("memory"),
        memory_swap=size("memory-swap"),
        memory_reservation=size("memory-reservation"),
        cpus="" if cpus is None else f"{cpus / 10**9:.9f}",
        cpu_shares=call["cpu-shares"] or 0,
        cpuset_cpus=call["cpuset-cpus"],
        pids_limit=call["pids-limit"] or 0,
        shm_size=size("shm-size"),
        ulimits=call["ulimit"],
        sysctls=call["sysctl"],
        init=call["init"],
        labels=call["label"],
        label_files=call["label-file"],
        annotations=call["annotation"],
        stop_signal=call["stop-signal"],
        stop_timeout_seconds=call["stop-timeout"],
        platform=call["platform"],
    )


def write_container_id(path: str, id: str) -> None:
    """For --cidfile. Raises Denied, NotFound, ..."""
    from cais.errors import from_os_error

    if not path:
        return
    try:
        with open(path, "x", encoding="ascii") as file:
            file.write(id)
    except OSError as error:
        raise from_os_error(error, f"write the container ID file {path}")


def _absolute_volume(text: str) -> str:
    """``./data:/data`` is relative to where the user stands."""
    import os

    source, colon, rest = text.partition(":")
    if colon and (source in (".", "..") or source.startswith(("./", "../"))):
        return os.path.abspath(source) + ":" + rest
    return text


def _absolute_mount(text: str) -> str:
    import os

    fields = text.split(",")
    for index, field in enumerate(fields):
        key, equals, value = field.partition("=")
        if equals and key in ("source", "src") and (value in (".", "..") or value.startswith(("./", "../"))):
            fields[index] = f"{key}={os.path.abspath(value)}"
    return ",".join(fields)
