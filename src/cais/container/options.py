"""RunOptions, ExecOptions: what ``create``, ``run`` and ``exec`` are asked for, and how its strings are read. Pure."""

from __future__ import annotations

from cais.errors import Invalid, NotFound
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from collections.abc import Mapping, Sequence
else:
    import _signal as signal  # its numbers without the enumerations, which cost 3 ms at each start


class RunOptions(NamedTuple):
    """Docker's flags, as they were given. ``environ`` is the caller's environment: ``-e NAME`` takes its value there.

    ``entrypoint`` None keeps the image's, "" takes it away. ``networks`` empty is the default network. Times of health
    checks are in nanoseconds, 0 is the image's. ``attach`` empty means all streams that a foreground run has.
    """

    image: str
    command: Sequence[str] = ()
    name: str = ""
    env: Sequence[str] = ()
    env_files: Sequence[str] = ()
    environ: Mapping[str, str] = {}
    workdir: str = ""
    user: str = ""
    group_add: Sequence[str] = ()
    volumes: Sequence[str] = ()
    mounts: Sequence[str] = ()
    tmpfs: Sequence[str] = ()
    networks: Sequence[str] = ()
    publish: Sequence[str] = ()
    interactive: bool = False
    tty: bool = False
    remove: bool = False
    detach: bool = False
    entrypoint: str | None = None
    hostname: str = ""
    add_hosts: Sequence[str] = ()
    dns: Sequence[str] = ()
    read_only: bool = False
    cap_add: Sequence[str] = ()
    cap_drop: Sequence[str] = ()
    privileged: bool = False
    security_opt: Sequence[str] = ()
    memory: str = ""
    memory_swap: str = ""
    memory_reservation: str = ""
    cpus: str = ""
    cpu_shares: int = 0
    cpuset_cpus: str = ""
    pids_limit: int = 0
    shm_size: str = ""
    ulimits: Sequence[str] = ()
    sysctls: Sequence[str] = ()
    init: bool = False
    labels: Sequence[str] = ()
    label_files: Sequence[str] = ()
    annotations: Sequence[str] = ()
    stop_signal: str = ""
    stop_timeout_seconds: int | None = None
    sig_proxy: bool = True
    platform: str = ""
    detach_keys: str | None = None
    attach: Sequence[str] = ()
    pull: str = "missing"
    quiet: bool = False
    publish_all: bool = False
    expose: Sequence[str] = ()
    network_aliases: Sequence[str] = ()
    links: Sequence[str] = ()
    ip: str = ""
    ip6: str = ""
    link_local_ips: Sequence[str] = ()
    mac_address: str = ""
    dns_options: Sequence[str] = ()
    dns_search: Sequence[str] = ()
    domainname: str = ""
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    userns: str = ""
    cgroupns: str = ""
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_devices: Sequence[str] = ()
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0
    cpu_rt_runtime: int = 0
    cpuset_mems: str = ""
    memory_swappiness: int = -1
    oom_kill_disable: bool = False
    oom_score_adj: int = 0
    devices: Sequence[str] = ()
    device_cgroup_rules: Sequence[str] = ()
    device_read_bps: Sequence[str] = ()
    device_read_iops: Sequence[str] = ()
    device_write_bps: Sequence[str] = ()
    device_write_iops: Sequence[str] = ()
    gpus: Sequence[str] = ()
    health_cmd: str | None = None
    health_interval_nanoseconds: int = 0
    health_timeout_nanoseconds: int = 0
    health_start_period_nanoseconds: int = 0
    health_start_interval_nanoseconds: int = 0
    health_retries: int = 0
    no_healthcheck: bool = False
    restart: str = ""
    log_driver: str = ""
    log_opts: Sequence[str] = ()
    runtime: str = ""
    storage_opts: Sequence[str] = ()
    volume_driver: str = ""
    volumes_from: Sequence[str] = ()
    use_api_socket: bool = False
    isolation: str = ""
    cidfile: str = ""


class ExecOptions(NamedTuple):
    """Docker's flags of exec, as they were given. ``environ``: the caller's, where ``-e NAME`` takes its value.

    ``detach_keys`` None is Docker's default sequence; "" detaches by nothing.
    """

    command: Sequence[str]
    env: Sequence[str] = ()
    env_files: Sequence[str] = ()
    environ: Mapping[str, str] = {}
    interactive: bool = False
    tty: bool = False
    detach: bool = False
    user: str = ""
    workdir: str = ""
    privileged: bool = False
    detach_keys: str | None = None


class AttachOptions(NamedTuple):
    """``detach_keys`` None is Docker's default sequence; "" detaches by nothing."""

    sig_proxy: bool = True
    detach_keys: str | None = None


_UNITS = {"": 0, "b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}


def parse_bytes(text: str, flag: str) -> int:
    """``64m``, ``1.5g``, ``1024``: bytes, in units of 1024. Raises Invalid."""
    body = text.strip().lower().removesuffix("ib")
    if len(body) > 1 and body.endswith("b") and not body[-2].isdigit():
        body = body[:-1]
    number = body.rstrip("bkmgtp")
    unit = body[len(number) :]
    try:
        if unit not in _UNITS or not number or not set(number.strip()) <= set("0123456789."):
            raise ValueError
        value = float(number)
    except ValueError:
        shown = "-m, --memory" if flag == "memory" else f"--{flag}"
        raise Invalid(f'invalid argument "{text}" for "{shown}" flag: invalid size: \'{text}\'', exit_code=125)
    return int(value * (1 << _UNITS[unit]))


def parse_cpus(text: str) -> int:
    """``1.5`` as billionths of a processor. Raises Invalid."""
    try:
        value = float(text)
    except ValueError:
        raise Invalid(f'invalid argument "{text}" for "--cpus" flag: failed to parse {text} as a rational number')
    if not 0 < value < 1 << 20:
        raise Invalid(f"invalid --cpus {value:g}: the least is 0.01", hint="Leave --cpus out for no limit.")
    return int(value * 1_000_000_000)


def parse_environment(options: RunOptions | ExecOptions) -> list[str]:
    """Files first, then ``-e``; a name without a value takes the caller's, or is left out. Raises Invalid, NotFound."""
    found: list[str] = []
    for path in options.env_files:
        found += read_pairs(path, options.environ)
    for item in options.env:
        name, equals, _ = item.partition("=")
        if not name:
            raise Invalid(f'invalid argument "{item}" for "-e, --env" flag: invalid environment variable: {item}')
        if equals:
            found.append(item)
        elif name in options.environ:
            found.append(f"{name}={options.environ[name]}")
        else:
            found.append(name)
    return found


def read_pairs(path: str, environ: Mapping[str, str] | None) -> list[str]:
    """The lines of an env file or label file, without comments. Raises NotFound, Invalid."""
    try:
        with open(path, "rb") as file:
            data = file.read(1 << 20)
    except FileNotFoundError:
        raise NotFound(f"open {path}: no such file or directory", exit_code=125)
    except OSError as error:
        from cais.errors import from_os_error

        raise from_os_error(error, f"open {path}")
    found = []
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        try:
            line = raw.decode("utf-8").lstrip()
        except UnicodeDecodeError:
            raise Invalid(f"invalid env file ({path}): invalid utf8 bytes at line {number}", exit_code=125)
        line = line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        name, equals, _ = line.partition("=")
        if not name or any(character.isspace() for character in name):
            what = "contains whitespaces" if name else "is empty"
            raise Invalid(f"invalid env file ({path}): variable '{name}' {what}", exit_code=125)
        if equals:
            found.append(line)
        elif environ is not None and name in environ:
            found.append(f"{name}={environ[name]}")
        elif environ is None:
            found.append(name)
    return found


def parse_labels(options: RunOptions) -> dict[str, str]:
    """Raises Invalid, NotFound."""
    labels: dict[str, str] = {}
    for path in options.label_files:
        for line in read_pairs(path, None):
            key, _, value = line.partition("=")
            labels[key] = value
    for item in options.labels:
        key, _, value = item.partition("=")
        if not key:
            raise Invalid(f'invalid argument {item!r} for "-l, --label" flag: it has no name', exit_code=125)
        labels[key] = value
    return labels


def parse_signal(text: str) -> int:
    """``TERM``, ``SIGTERM`` or ``15``. Raises Invalid with Docker's words."""
    if text.isdigit() and 0 < int(text) < 65:
        return int(text)
    name = text.upper() if text.upper().startswith("SIG") else "SIG" + text.upper()
    base, plus, offset = name.partition("+")
    if base == "SIGRTMIN" and plus and offset.isdigit() and int(offset) <= 30:
        return 34 + int(offset)
    if base in ("SIGRTMIN", "SIGRTMAX") and not plus:
        return 34 if base == "SIGRTMIN" else 64
    number = getattr(signal, name, None) if name[3:].isalnum() else None
    if not isinstance(number, int):
        raise Invalid(f"invalid signal: {text}")
    return number
