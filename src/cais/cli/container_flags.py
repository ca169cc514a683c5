"""What ``run`` and ``create`` share: the flags, and the engine's options made of them."""

from __future__ import annotations

from cais.cli.declare import BadValue, Flag
from cais.cli.list_flags import platform
from cais.cli.values import environment, label, ulimit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cais.cli.call import Call
    from cais.cli.progress_transfer import Transfer
    from cais.engine.containers import RunOptions


def stream(text: str) -> None:
    if text.lower() not in ("stdin", "stdout", "stderr"):
        raise BadValue("valid streams are STDIN, STDOUT and STDERR")


def host_mapping(text: str) -> None:
    name, separator, _address = text.partition("=" if "=" in text else ":")
    if not separator or not name:
        raise BadValue(f'bad format for add-host: "{text}"')


FLAGS = (
    Flag("add-host", "", "list", "Add a custom host-to-IP mapping (host:ip)", check=host_mapping),
    Flag("annotation", "", "map", "Add an annotation to the container (passed through to the OCI runtime)"),
    Flag("attach", "a", "list", "Attach to STDIN, STDOUT or STDERR", check=stream),
    Flag("blkio-weight", "", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"),
    Flag("blkio-weight-device", "", "list", "Block IO weight (relative device weight)"),
    Flag("cap-add", "", "list", "Add Linux capabilities"),
    Flag("cap-drop", "", "list", "Drop Linux capabilities"),
    Flag("cgroup-parent", "", "string", "Optional parent cgroup for the container"),
    Flag("cgroupns", "", "string", "Cgroup namespace to use (host|private)", complete="host,private"),
    Flag("cidfile", "", "string", "Write the container ID to the file", complete="file"),
    Flag("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
    Flag("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
    Flag("cpu-rt-period", "", "int", "Limit CPU real-time period in microseconds"),
    Flag("cpu-rt-runtime", "", "int", "Limit CPU real-time runtime in microseconds"),
    Flag("cpu-shares", "c", "int", "CPU shares (relative weight)"),
    Flag("cpus", "", "decimal", "Number of CPUs"),
    Flag("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
    Flag("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
    Flag("detach-keys", "", "string", "Override the key sequence for detaching a container"),
    Flag("device", "", "list", "Add a host device to the container"),
    Flag("device-cgroup-rule", "", "list", "Add a rule to the cgroup allowed devices list"),
    Flag("device-read-bps", "", "list", "Limit read rate (bytes per second) from a device"),
    Flag("device-read-iops", "", "list", "Limit read rate (IO per second) from a device"),
    Flag("device-write-bps", "", "list", "Limit write rate (bytes per second) to a device"),
    Flag("device-write-iops", "", "list", "Limit write rate (IO per second) to a device"),
    Flag("disable-content-trust", "", "", "Skip image verification (there is none: no effect)", True),
    Flag("dns", "", "list", "Set custom DNS servers"),
    Flag("dns-opt", "", "list", hidden=True),
    Flag("dns-option", "", "list", "Set DNS options"),
    Flag("dns-search", "", "list", "Set custom DNS search domains"),
    Flag("domainname", "", "string", "Container NIS domain name"),
    Flag("entrypoint", "", "string", "Overwrite the default ENTRYPOINT of the image"),
    Flag("env", "e", "list", "Set environment variables", check=environment),
    Flag("env-file", "", "list", "Read in a file of environment variables", complete="file"),
    Flag("expose", "", "list", "Expose a port or a range of ports"),
    Flag("gpus", "", "gpu-request", "GPU devices to add to the container ('all' to pass all GPUs)"),
    Flag("group-add", "", "list", "Add additional groups to join"),
    Flag("health-cmd", "", "string", "Command to run to check health"),
    Flag("health-interval", "", "duration", "Time between running the check (ms|s|m|h) (default 0s)"),
    Flag("health-retries", "", "int", "Consecutive failures needed to report unhealthy"),
    Flag(
        "health-start-interval",
        "",
        "duration",
        "Time between running the check during the start period (ms|s|m|h) (default 0s)",
    ),
    Flag(
        "health-start-period",
        "",
        "duration",
        "Start period for the container to initialize before starting health-retries countdown (ms|s|m|h) (default 0s)",
    ),
    Flag("health-timeout", "", "duration", "Maximum time to allow one check to run (ms|s|m|h) (default 0s)"),
    Flag("help", "", "", "Print usage"),
    Flag("hostname", "h", "string", "Container host name"),
    Flag("init", "", "", "Run an init inside the container that forwards signals and reaps processes"),
    Flag("interactive", "i", "", "Keep STDIN open even if not attached"),
    Flag("ip", "", "string", "IPv4 address (e.g., 172.30.100.104)"),
    Flag("ip6", "", "string", "IPv6 address (e.g., 2001:db8::33)"),
    Flag("ipc", "", "string", "IPC mode to use"),
    Flag("isolation", "", "string", "Container isolation technology"),
    Flag("kernel-memory", "", "bytes", "Kernel memory limit (no kernel has it any more: no effect)"),
    Flag("label", "l", "list", "Set meta data on a container", check=label),
    Flag("label-file", "", "list", "Read in a line delimited file of labels", complete="file"),
    Flag("link", "", "list", "Add link to another container"),
    Flag("link-local-ip", "", "list", "Container IPv4/IPv6 link-local addresses"),
    Flag("log-driver", "", "string", "Logging driver for the container"),
    Flag("log-opt", "", "list", "Log driver options"),
    Flag("mac-address", "", "string", "Container MAC address (e.g., 92:d0:c6:0a:29:33)"),
    Flag("memory", "m", "bytes", "Memory limit"),
    Flag("memory-reservation", "", "bytes", "Memory soft limit"),
    Flag("memory-swap", "", "bytes", "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"),
    Flag("memory-swappiness", "", "int", "Tune container memory swappiness (0 to 100)", -1),
    Flag("mount", "", "mount", "Attach a filesystem mount to the container"),
    Flag("name", "", "string", "Assign a name to the container"),
    Flag("net", "", "network", hidden=True),
    Flag("net-alias", "", "list", hidden=True),
    Flag("network", "", "network", "Connect a container to a network", complete="network"),
    Flag("network-alias", "", "list", "Add network-scoped alias for the container"),
    Flag("no-healthcheck", "", "", "Disable any container-specified HEALTHCHECK"),
    Flag("oom-kill-disable", "", "", "Disable OOM Killer"),
    Flag("oom-score-adj", "", "int", "Tune host's OOM preferences (-1000 to 1000)"),
    Flag("pid", "", "string", "PID namespace to use"),
    Flag("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
    platform("Set platform if server is multi-platform capable"),
    Flag("privileged", "", "", "Give extended privileges to this container"),
    Flag("publish", "p", "list", "Publish a container's port(s) to the host"),
    Flag("publish-all", "P", "", "Publish all exposed ports to random ports"),
    Flag(
        "pull",
        "",
        "string",
        'Pull image before running ("always", "missing", "never")',
        "missing",
        complete="always,missing,never",
    ),
    Flag("quiet", "q", "", "Suppress the pull output"),
    Flag("read-only", "", "", "Mount the container's root filesystem as read only"),
    Flag(
        "restart",
        "",
        "string",
        "Restart policy to apply when a container exits",
        "no",
        complete="no,always,unless-stopped,on-failure",
    ),
    Flag("rm", "", "", "Automatically remove the container and its associated anonymous volumes when it exits"),
    Flag("runtime", "", "string", "Runtime to use for this container"),
    Flag("security-opt", "", "list", "Security Options"),
    Flag("shm-size", "", "bytes", "Size of /dev/shm"),
    Flag("stop-signal", "", "string", "Signal to stop the container"),
    Flag("stop-timeout", "", "int", "Timeout (in seconds) to stop a container"),
    Flag("storage-opt", "", "list", "Storage driver options for the container"),
    Flag("sysctl", "", "map", "Sysctl options"),
    Flag("tmpfs", "", "list", "Mount a tmpfs directory"),
    Flag("tty", "t", "", "Allocate a pseudo-TTY"),
    Flag("ulimit", "", "ulimit", "Ulimit options", check=ulimit),
    Flag("use-api-socket", "", "", "Bind mount Docker API socket and required auth"),
    Flag("user", "u", "string", "Username or UID (format: <name|uid>[:<group|gid>])"),
    Flag("userns", "", "string", "User namespace to use"),
    Flag("uts", "", "string", "UTS namespace to use"),
    Flag("volume", "v", "list", "Bind mount a volume"),
    Flag("volume-driver", "", "string", "Optional volume driver for the container"),
    Flag("volumes-from", "", "list", "Mount volumes from the specified container(s)"),
    Flag("workdir", "w", "string", "Working directory inside the container"),
)


def run_options(call: Call) -> RunOptions:
    """What the flags ask for. Raises Invalid, Unsupported, Conflict (a --cidfile that is there)."""
    import os

    from cais.engine.containers import RunOptions
    from cais.errors import Conflict, Invalid

    if call["pull"] not in ("missing", "never", "always"):
        raise Invalid(f'invalid pull option: {call["pull"]!r}: must be one of "always", "missing" or "never"')
    if call["cidfile"] and os.path.exists(call["cidfile"]):
        raise Conflict(
            f"container ID file found, make sure the other container isn't running or delete {call['cidfile']}"
        )

    near = next((text for text in call["dns"] if text == "::1" or text.startswith("127.")), "")
    if near:
        from cais.cli.call import warn

        warn(f"WARNING: Localhost DNS ({near}) may fail in containers.")

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
        volumes=[absolute_volume(text) for text in call["volume"]],
        mounts=[absolute_mount(text) for text in call["mount"]],
        tmpfs=call["tmpfs"],
        networks=[*call["network"], *call["net"]],
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
        attach=call["attach"],
        pull=call["pull"],
        quiet=call["quiet"],
        publish=call["publish"],
        publish_all=call["publish-all"],
        expose=call["expose"],
        network_aliases=[*call["network-alias"], *call["net-alias"]],
        links=call["link"],
        ip=call["ip"],
        ip6=call["ip6"],
        link_local_ips=call["link-local-ip"],
        mac_address=call["mac-address"],
        dns_options=[*call["dns-option"], *call["dns-opt"]],
        dns_search=call["dns-search"],
        domainname=call["domainname"],
        pid=call["pid"],
        ipc=call["ipc"],
        uts=call["uts"],
        userns=call["userns"],
        cgroupns=call["cgroupns"],
        cgroup_parent=call["cgroup-parent"],
        blkio_weight=call["blkio-weight"] or 0,
        blkio_weight_devices=call["blkio-weight-device"],
        cpu_period=call["cpu-period"] or 0,
        cpu_quota=call["cpu-quota"] or 0,
        cpu_rt_period=call["cpu-rt-period"] or 0,
        cpu_rt_runtime=call["cpu-rt-runtime"] or 0,
        cpuset_mems=call["cpuset-mems"],
        memory_swappiness=call["memory-swappiness"],
        oom_kill_disable=call["oom-kill-disable"],
        oom_score_adj=call["oom-score-adj"] or 0,
        devices=call["device"],
        device_cgroup_rules=call["device-cgroup-rule"],
        device_read_bps=call["device-read-bps"],
        device_read_iops=call["device-read-iops"],
        device_write_bps=call["device-write-bps"],
        device_write_iops=call["device-write-iops"],
        gpus=call["gpus"],
        privileged=call["privileged"],
        health_cmd=call["health-cmd"] if "health-cmd" in call.said else None,
        health_interval_nanoseconds=call["health-interval"] or 0,
        health_timeout_nanoseconds=call["health-timeout"] or 0,
        health_start_period_nanoseconds=call["health-start-period"] or 0,
        health_start_interval_nanoseconds=call["health-start-interval"] or 0,
        health_retries=call["health-retries"] or 0,
        no_healthcheck=call["no-healthcheck"],
        restart="" if call["restart"] == "no" else call["restart"],
        log_driver=call["log-driver"],
        log_opts=call["log-opt"],
        runtime=call["runtime"],
        storage_opts=call["storage-opt"],
        volume_driver=call["volume-driver"],
        volumes_from=call["volumes-from"],
        use_api_socket=call["use-api-socket"],
        isolation=call["isolation"],
        cidfile=call["cidfile"],
        detach_keys=call["detach-keys"] if "detach-keys" in call.said else None,
    )


class PullShown:
    """Shows the pull of an image that is not here, on standard error; loads nothing where there is none."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet
        self._display: Transfer | None = None

    def __call__(self, event: dict[str, Any]) -> None:
        if self._display is None:
            import sys

            from cais.cli.progress_transfer import PULL, Transfer

            self._display = Transfer(PULL, sys.stderr, quiet=self._quiet)
        self._display(event)
        if event["event"] == "pulled":
            self._display.close()


def write_container_id(path: str, id: str) -> None:
    """For --cidfile. Raises Denied, NotFound, ..."""
    from cais.errors import from_os_error

    if not path:
        return
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(id)
    except OSError as error:
        raise from_os_error(error, f"write the container ID file {path}")


def absolute_volume(text: str) -> str:
    """``./data:/data`` is relative to where the user stands."""
    import os

    source, colon, rest = text.partition(":")
    if colon and (source in (".", "..") or source.startswith(("./", "../"))):
        return os.path.abspath(source) + ":" + rest
    return text


def absolute_mount(text: str) -> str:
    """As ``absolute_volume``, of --mount."""
    import os

    fields = text.split(",")
    for index, field in enumerate(fields):
        key, equals, value = field.partition("=")
        if equals and key in ("source", "src") and (value in (".", "..") or value.startswith(("./", "../"))):
            fields[index] = f"{key}={os.path.abspath(value)}"
    return ",".join(fields)
