"""``version`` and ``info``: every field that templates and programs ask Docker's for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from unit.cli.conftest import Cais

# Of Docker 26.
CLIENT = (
    "Platform", "Version", "ApiVersion", "DefaultAPIVersion", "GitCommit", "GoVersion", "Os", "Arch", "BuildTime",
    "Context",
)  # fmt: skip
SERVER = (
    "Platform", "Components", "Version", "ApiVersion", "MinAPIVersion", "GitCommit", "GoVersion", "Os", "Arch",
    "KernelVersion", "BuildTime",
)  # fmt: skip
INFO = (
    "ID", "Containers", "ContainersRunning", "ContainersPaused", "ContainersStopped", "Images", "Driver",
    "DriverStatus", "Plugins", "MemoryLimit", "SwapLimit", "CpuCfsPeriod", "CpuCfsQuota", "CPUShares", "CPUSet",
    "PidsLimit", "IPv4Forwarding", "BridgeNfIptables", "BridgeNfIp6tables", "Debug", "NFd", "OomKillDisable",
    "NGoroutines", "SystemTime", "LoggingDriver", "CgroupDriver", "CgroupVersion", "NEventsListener", "KernelVersion",
    "OperatingSystem", "OSVersion", "OSType", "Architecture", "IndexServerAddress", "RegistryConfig", "NCPU",
    "MemTotal", "GenericResources", "DockerRootDir", "HttpProxy", "HttpsProxy", "NoProxy", "Name", "Labels",
    "ExperimentalBuild", "ServerVersion", "Runtimes", "DefaultRuntime", "Swarm", "LiveRestoreEnabled", "Isolation",
    "InitBinary", "ContainerdCommit", "RuncCommit", "InitCommit", "SecurityOptions", "CDISpecDirs", "Warnings",
    "ClientInfo",
)  # fmt: skip


def test_version_has_dockers_fields(cais: Cais) -> None:
    found = json.loads(cais("version", "--format", "json").stdout)
    assert set(CLIENT) <= found["Client"].keys() and set(SERVER) <= found["Server"].keys()
    assert found["Server"]["Components"][0]["Details"].keys() >= {"ApiVersion", "MinAPIVersion", "KernelVersion"}
    template = "{{.Client.APIVersion}} {{.Server.APIVersion}} {{.Server.MinAPIVersion}} {{.Client.GoVersion}}"
    assert cais("version", "-f", template).stdout == "1.45 1.45 1.24 \n"
    shown = cais("version").stdout
    assert " API version:       1.45\n" in shown and "  API version:      1.45 (minimum version 1.24)\n" in shown


@pytest.mark.root
def test_info_has_dockers_fields(cais: Cais, tmp_path: Path) -> None:
    config = tmp_path / "config"
    (config / "cais").mkdir(parents=True)
    (config / "cais" / "registries.toml").write_text(
        '[[registry]]\nprefix = "docker.io"\n[[registry.mirror]]\nlocation = "mirror.example.com"\n'
        '[[registry]]\nprefix = "plain.example.com"\ninsecure = true\n'
    )
    environment = {"XDG_CONFIG_HOME": str(config), "HTTPS_PROXY": "http://me:secret@proxy.example.com:3128"}
    found = json.loads(cais("info", "--format", "json", environment=environment).stdout)
    assert set(INFO) <= found.keys() and set(CLIENT) <= found["ClientInfo"].keys()
    assert found["RegistryConfig"]["Mirrors"] == ["https://mirror.example.com/"]
    assert not found["RegistryConfig"]["IndexConfigs"]["plain.example.com"]["Secure"]
    assert found["HttpsProxy"] == "http://xxxxx:xxxxx@proxy.example.com:3128"
    shown = cais("info", environment=environment).stdout
    assert "Insecure Registries:\n  plain.example.com\n  ::1/128\n  127.0.0.0/8\n" in shown
    assert "Registry Mirrors:\n  https://mirror.example.com/\n" in shown and "secret" not in shown
    assert cais("info", "-f", "{{.ClientInfo.APIVersion}} {{.Swarm.ControlAvailable}}").stdout == "1.45 false\n"
