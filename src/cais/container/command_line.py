"""The command line that makes the same container, read off what ``inspect`` says of it. Pure.

Only what differs from the image and from the defaults is said; each part of ``inspect`` is read by one function below.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping

from cais.container.networking import DEFAULT, Attachment, Networking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SHM_BYTES = 64 << 20
# HostConfig: a flag for a value that is not empty, and one for each of a list's or an object's items.
_VALUES = (
    ("VolumeDriver", "volume-driver"), ("PidMode", "pid"), ("UTSMode", "uts"), ("UsernsMode", "userns"),
    ("Isolation", "isolation"), ("CgroupParent", "cgroup-parent"), ("Memory", "memory"),
    ("MemoryReservation", "memory-reservation"), ("CpuShares", "cpu-shares"), ("CpuPeriod", "cpu-period"),
    ("CpuQuota", "cpu-quota"), ("CpuRealtimePeriod", "cpu-rt-period"), ("CpuRealtimeRuntime", "cpu-rt-runtime"),
    ("CpusetCpus", "cpuset-cpus"), ("CpusetMems", "cpuset-mems"), ("PidsLimit", "pids-limit"),
    ("BlkioWeight", "blkio-weight"), ("OomScoreAdj", "oom-score-adj"),
)  # fmt: skip
_SWITCHES = (
    ("AutoRemove", "rm"), ("Privileged", "privileged"), ("ReadonlyRootfs", "read-only"), ("Init", "init"),
    ("OomKillDisable", "oom-kill-disable"), ("PublishAllPorts", "publish-all"),
)  # fmt: skip
_LISTS = (
    ("VolumesFrom", "volumes-from"), ("CapAdd", "cap-add"), ("CapDrop", "cap-drop"), ("Dns", "dns"),
    ("DnsOptions", "dns-option"), ("DnsSearch", "dns-search"), ("ExtraHosts", "add-host"), ("GroupAdd", "group-add"),
    ("DeviceCgroupRules", "device-cgroup-rule"), ("Binds", "volume"),
)  # fmt: skip
_PAIRS = (("Sysctls", "sysctl"), ("Annotations", "annotation"), ("StorageOpt", "storage-opt"))
_RATES = (
    ("BlkioWeightDevice", "Weight", "blkio-weight-device"), ("BlkioDeviceReadBps", "Rate", "device-read-bps"),
    ("BlkioDeviceWriteBps", "Rate", "device-write-bps"), ("BlkioDeviceReadIOps", "Rate", "device-read-iops"),
    ("BlkioDeviceWriteIOps", "Rate", "device-write-iops"),
)  # fmt: skip
_HEALTH = (
    ("Interval", "health-interval"), ("Timeout", "health-timeout"), ("StartPeriod", "health-start-period"),
    ("StartInterval", "health-start-interval"),
)  # fmt: skip


def arguments(
    document: Mapping[str, Any],
    networking: Networking,
    image: Mapping[str, Any],
    *,
    runtime: str,
    cgroup_namespace: str,
) -> list[str]:
    """What stands behind ``cais run``. ``image`` is its image's ``config`` object; the last two as for ``inspect``.

    ``networking`` is the plan's: what is asked for, where ``document`` says what is there.
    """
    config, host = document["Config"], document["HostConfig"]
    flags: list[str] = []

    def add(name: str, value: object = None) -> None:
        """A value of its own that looks like a flag is bound to its name."""
        text = "" if value is None else str(value)
        flags.append(f"--{name}" if value is None else f"--{name}={text}")

    add("name", document["Name"].removeprefix("/"))
    for name, value in (
        *_process(config, image, document["Id"], shares_hostname=host["UTSMode"] == "host"),
        *_simple(host),
        *_security(host),
        *_resources(host),
        *_devices(host),
        *_mounts(config, host, image),
        *_networks(networking, image),
        *_health(config.get("Healthcheck"), image.get("Healthcheck")),
        *_policies(host),
    ):
        add(name, value)
    for key, name, default in (
        ("Runtime", "runtime", runtime),
        ("CgroupnsMode", "cgroupns", cgroup_namespace),
        ("IpcMode", "ipc", "private"),
        ("ShmSize", "shm-size", _SHM_BYTES),
    ):
        if host[key] not in (default, ""):
            add(name, host[key])
    entrypoint, command = _command(config, image)
    if entrypoint is not None:
        add("entrypoint", entrypoint)
    return [*flags, config["Image"], *command]


_Flags = Iterator[tuple[str, object]]


def _process(config: Mapping[str, Any], image: Mapping[str, Any], id: str, *, shares_hostname: bool) -> _Flags:
    attached = {name: config[f"Attach{name.capitalize()}"] for name in ("stdin", "stdout", "stderr")}
    if not any(attached.values()):
        yield "detach", None
    elif attached != {"stdin": config["OpenStdin"], "stdout": True, "stderr": True}:
        yield from (("attach", name) for name, is_attached in attached.items() if is_attached)
    if config["OpenStdin"]:
        yield "interactive", None
    if config["Tty"]:
        yield "tty", None
    if config["Hostname"] != id[:12] and not shares_hostname:
        yield "hostname", config["Hostname"]
    if config["Domainname"]:
        yield "domainname", config["Domainname"]
    if config["User"] != (image.get("User") or ""):
        yield "user", config["User"]
    if _path(config["WorkingDir"]) != _path(image.get("WorkingDir") or ""):
        yield "workdir", _path(config["WorkingDir"])
    known = image.get("Env") or ()
    yield from (("env", item) for item in config["Env"] or () if item not in known)
    labels = image.get("Labels") or {}
    yield from (("label", f"{key}={text}") for key, text in config["Labels"].items() if labels.get(key) != text)
    signal = config.get("StopSignal", "SIGTERM")
    if signal != (image.get("StopSignal") or "SIGTERM"):
        yield "stop-signal", signal
    if "StopTimeout" in config:
        yield "stop-timeout", config["StopTimeout"]


def _path(text: str) -> str:
    return "/" + posixpath.normpath(text or "/").lstrip("/")


def _command(config: Mapping[str, Any], image: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """``--entrypoint``, or None, and the words behind the image."""
    entrypoint, command = list(config["Entrypoint"] or ()), list(config["Cmd"] or ())
    given, default = list(image.get("Entrypoint") or ()), list(image.get("Cmd") or ())
    if entrypoint == given and (command or not default or len(given) > 1):
        return None, [] if command == default else command
    if not entrypoint:
        return "", command
    return entrypoint[0], [*entrypoint[1:], *command]


def _simple(host: Mapping[str, Any]) -> _Flags:
    for key, name in _SWITCHES:
        if host.get(key):
            yield name, None
    for key, name in _VALUES:
        if host.get(key):
            yield name, host[key]
    for key, name in _LISTS:
        yield from ((name, item) for item in host.get(key) or ())
    for key, name in _PAIRS:
        yield from ((name, f"{item}={text}") for item, text in (host.get(key) or {}).items())


def _security(host: Mapping[str, Any]) -> _Flags:
    options = list(host["SecurityOpt"] or ())
    if (host["Privileged"] or "host" in (host["PidMode"], host["IpcMode"])) and options[-1:] == ["label=disable"]:
        options.pop()  # it comes with these
    yield from (("security-opt", item) for item in options)
    if host["MaskedPaths"] == []:
        yield "security-opt", "systempaths=unconfined"


def _resources(host: Mapping[str, Any]) -> _Flags:
    memory, swap = host["Memory"], host["MemorySwap"]
    if swap and swap != memory * 2:
        yield "memory-swap", swap
    if host["MemorySwappiness"] is not None:
        yield "memory-swappiness", host["MemorySwappiness"]
    if host["NanoCpus"]:
        yield "cpus", f"{host['NanoCpus'] / 10**9:.9f}".rstrip("0").rstrip(".")
    for key, what, name in _RATES:
        yield from ((name, f"{item['Path']}:{item[what]}") for item in host[key] or ())
    for item in host["Ulimits"] or ():
        same = item["Soft"] == item["Hard"]
        yield "ulimit", f"{item['Name']}={item['Soft']}" + ("" if same else f":{item['Hard']}")


def _devices(host: Mapping[str, Any]) -> _Flags:
    for item in host["Devices"] or ():
        source, target, access = item["PathOnHost"], item["PathInContainer"], item["CgroupPermissions"]
        yield "device", source + (f":{target}" if target != source else "") + (f":{access}" if access != "rwm" else "")
    for request in host["DeviceRequests"] or ():
        if request["Driver"] == "cdi" and not request["Capabilities"]:
            yield from (("device", id) for id in request["DeviceIDs"] or ())
        else:
            yield "gpus", _gpus(request)


def _gpus(request: Mapping[str, Any]) -> str:
    capabilities = (request["Capabilities"] or [[]])[0][:-1]
    fields = [("count", "all" if request["Count"] == -1 else str(request["Count"] or ""))]
    fields += [("driver", request["Driver"]), ("device", ",".join(request["DeviceIDs"] or ()))]
    fields.append(("capabilities", ",".join(capabilities)))
    fields.append(("options", ",".join(f"{key}={text}" for key, text in (request["Options"] or {}).items())))
    return _csv(f"{name}={text}" for name, text in fields if text)


def _mounts(config: Mapping[str, Any], host: Mapping[str, Any], image: Mapping[str, Any]) -> _Flags:
    of_image = {_path(path) for path in image.get("Volumes") or ()}
    yield from (("volume", path) for path in config["Volumes"] or () if path not in of_image)
    yield from (("tmpfs", path + (f":{text}" if text else "")) for path, text in (host.get("Tmpfs") or {}).items())
    yield from (("mount", _mount(item)) for item in host.get("Mounts") or ())


def _mount(item: Mapping[str, Any]) -> str:
    fields = [f"type={item['Type']}"]
    if item.get("Source"):
        fields.append(f"source={item['Source']}")
    fields.append(f"target={item['Target']}")
    if item.get("ReadOnly"):
        fields.append("readonly")
    if item.get("Consistency"):
        fields.append(f"consistency={item['Consistency']}")
    bind = item.get("BindOptions") or {}
    for key, field in (
        ("Propagation", f"bind-propagation={bind.get('Propagation')}"),
        ("NonRecursive", "bind-recursive=disabled"),
        ("ReadOnlyNonRecursive", "bind-recursive=writable"),
        ("ReadOnlyForceRecursive", "bind-recursive=readonly"),
        ("CreateMountpoint", "bind-create-src"),
    ):
        if bind.get(key):
            fields.append(field)
    volume = item.get("VolumeOptions") or {}
    driver = volume.get("DriverConfig") or {}
    if volume.get("NoCopy"):
        fields.append("volume-nocopy")
    if volume.get("Subpath"):
        fields.append(f"volume-subpath={volume['Subpath']}")
    if driver.get("Name"):
        fields.append(f"volume-driver={driver['Name']}")
    fields += [f"volume-label={key}={text}" for key, text in (volume.get("Labels") or {}).items()]
    fields += [f"volume-opt={key}={text}" for key, text in (driver.get("Options") or {}).items()]
    tmpfs = item.get("TmpfsOptions") or {}
    if tmpfs.get("SizeBytes"):
        fields.append(f"tmpfs-size={tmpfs['SizeBytes']}")
    if tmpfs.get("Mode"):
        fields.append(f"tmpfs-mode={tmpfs['Mode']:o}")
    if (item.get("ImageOptions") or {}).get("Subpath"):
        fields.append(f"image-subpath={item['ImageOptions']['Subpath']}")
    return _csv(fields)


def _networks(networking: Networking, image: Mapping[str, Any]) -> _Flags:
    if not networking.networks:
        yield "network", networking.mode
    for item in networking.networks:
        yield from (("link", text) for text in item.links)
        if item._replace(links=()) != Attachment(DEFAULT) or len(networking.networks) > 1:
            yield "network", _network(item._replace(links=()))
    bound = {binding.target for binding in networking.ports}
    for port in networking.ports:
        ip = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
        where = f"{ip}:{port.host_text}:" if ip else f"{port.host_text}:" if port.host_text else ""
        yield "publish", where + port.target
    known = {port if "/" in port else f"{port}/tcp" for port in image.get("ExposedPorts") or ()}
    yield from (("expose", port) for port in networking.exposed if port not in known | bound)


def _network(item: Attachment) -> str:
    if item == Attachment(item.network):
        return item.network
    fields = [f"name={item.network}"]
    fields += [f"alias={alias}" for alias in item.aliases]
    fields += [f"{key}={text}" for key, text in (("ip", item.ip), ("ip6", item.ip6), ("mac-address", item.mac)) if text]
    fields += [f"link-local-ip={address}" for address in item.link_local]
    fields += [f"driver-opt={option}" for option in item.options]
    if item.priority:
        fields.append(f"gw-priority={item.priority}")
    return ",".join(fields)


def _health(check: Mapping[str, Any] | None, image: Mapping[str, Any] | None) -> _Flags:
    check, known = check or {}, image or {}
    test = list(check.get("Test") or ())
    if test == ["NONE"] and test != list(known.get("Test") or ()):
        yield "no-healthcheck", None
        return
    if test != list(known.get("Test") or ()) and test[:1] == ["CMD-SHELL"]:
        yield "health-cmd", test[1]
    for key, name in _HEALTH:
        if check.get(key) and check[key] != known.get(key):
            yield name, f"{check[key]}ns"
    if check.get("Retries") and check["Retries"] != known.get("Retries"):
        yield "health-retries", check["Retries"]


def _policies(host: Mapping[str, Any]) -> _Flags:
    policy = host["RestartPolicy"]
    if policy["Name"] not in ("", "no"):
        retries = policy["MaximumRetryCount"]
        yield "restart", policy["Name"] + (f":{retries}" if retries else "")
    log = host["LogConfig"]
    if log["Type"] != "json-file":
        yield "log-driver", log["Type"]
    yield from (("log-opt", f"{key}={text}") for key, text in (log["Config"] or {}).items())


def _csv(fields: Iterable[str]) -> str:
    """As Go's reader of CSV takes a line apart."""
    return ",".join(
        '"' + field.replace('"', '""') + '"' if any(mark in field for mark in ',"\n\r') or field[:1] == " " else field
        for field in fields
    )
