"""``cais system info``, ``cais info``: in the layout of Docker's."""

from __future__ import annotations

from cais.cli.declare import Command
from cais.cli.list_flags import inspect_format

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Display system-wide information",
    aliases=("system info", "info"),
    flags=(inspect_format(),),
    examples=("cais info", "cais info -f '{{.Driver}}'"),
)


def run(call: Call) -> int:
    import os

    from cais.cli.call import say, warn
    from cais.cli.commands import version
    from cais.cli.place import current

    facts = call.engine.system.info()
    client = version.facts(current({}, os.environ))["Client"]
    facts["ClientInfo"] = {"Debug": False, **client, "Plugins": [], "Warnings": None}
    if call["format"]:
        from cais.cli.documents import formatted

        say(formatted(facts, call["format"]))
        return 0
    say(f"Client:\n Version:    {client['Version']}\n Context:    {client['Context']}\n Debug Mode: false\n\nServer:")
    for line in _lines(facts):
        say(" " + line)
    for warning in facts["Warnings"]:
        warn(f"WARNING: {warning}")
    return 0


def _lines(facts: Mapping[str, Any]) -> Iterator[str]:
    from cais.cli.units import binary_size

    yield f"Containers: {facts['Containers']}"
    for state in ("Running", "Paused", "Stopped"):
        yield f" {state}: {facts['Containers' + state]}"
    yield f"Images: {facts['Images']}"
    yield f"Server Version: {facts['ServerVersion']}"
    yield f"Storage Driver: {facts['Driver']}"
    for name, value in facts["DriverStatus"]:
        yield f" {name}: {value}"
    yield f"Logging Driver: {facts['LoggingDriver']}"
    yield f"Cgroup Driver: {facts['CgroupDriver']}"
    yield f"Cgroup Version: {facts['CgroupVersion']}"
    yield f"Cgroup Mode: {facts['CgroupMode']}"
    yield f"Cgroup Controllers: {' '.join(facts['CgroupControllers'])}"
    yield "Plugins:"
    for kind in ("Volume", "Network", "Log"):
        yield f" {kind}: {' '.join(facts['Plugins'][kind])}"
    yield "CDI spec directories:"
    for path in facts["CDISpecDirs"]:
        yield f" {path}"
    if facts["DiscoveredDevices"]:
        yield "Discovered Devices:"
        for device in facts["DiscoveredDevices"]:
            yield f" {device['Source']}: {device['ID']}"
    yield f"Swarm: {facts['Swarm']['LocalNodeState']}"
    yield f"Runtimes: {' '.join(sorted(facts['Runtimes']))}"
    yield f"Default Runtime: {facts['DefaultRuntime']}"
    yield f"Init Binary: {facts['InitBinary']}"
    yield "Security Options:"
    for option in facts["SecurityOptions"]:
        name, *more = option.removeprefix("name=").split(",")
        yield f" {name}"
        for part in more:
            key, _, value = part.partition("=")
            yield f"  {key.capitalize()}: {value}"
    yield f"Kernel Version: {facts['KernelVersion']}"
    yield f"Operating System: {facts['OperatingSystem']}"
    yield f"OSType: {facts['OSType']}"
    yield f"Architecture: {facts['Architecture']}"
    yield f"CPUs: {facts['NCPU']}"
    yield f"Total Memory: {binary_size(facts['MemTotal'])}"
    yield f"Name: {facts['Name']}"
    yield f"ID: {facts['ID']}"
    yield f"Docker Root Dir: {facts['DockerRootDir']}"
    yield f"Debug Mode: {_word(facts['Debug'])}"
    yield f"Rootless: {_word(facts['Rootless'])}"
    for name, field in (("HTTP Proxy", "HttpProxy"), ("HTTPS Proxy", "HttpsProxy"), ("No Proxy", "NoProxy")):
        if facts[field]:
            yield f"{name}: {facts[field]}"
    yield f"Experimental: {_word(facts['ExperimentalBuild'])}"
    yield "Insecure Registries:"
    registries = facts["RegistryConfig"]
    for name, index in registries["IndexConfigs"].items():
        if not index["Secure"]:
            yield f" {name}"
    for subnet in registries["InsecureRegistryCIDRs"]:
        yield f" {subnet}"
    if registries["Mirrors"]:
        yield "Registry Mirrors:"
        for address in registries["Mirrors"]:
            yield f" {address}"
    yield f"Live Restore Enabled: {_word(facts['LiveRestoreEnabled'])}"


def _word(value: bool) -> str:
    return "true" if value else "false"
