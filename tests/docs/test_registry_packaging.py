"""What a registry is installed with: everything in it can be read, and the settings and flags that it names exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("sqlalchemy", reason="cais[registry] is not installed")

from cais.cli.commands.registry_serve import COMMAND
from cais.registry.settings import PREFIX, SETTINGS, load
from integration.command import PROJECT

HERE = PROJECT / "contrib" / "registry"
VARIABLES = {row.variable for row in SETTINGS} | {row.variable + "_FILE" for row in SETTINGS}


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((HERE / name).read_text()))


def check_words(words: list[str]) -> None:
    """The words behind ``cais registry``."""
    assert words[0] == "serve"
    flags = {flag.long for flag in COMMAND.flags}
    for word in words[1:]:
        assert not word.startswith("--") or word[2:].partition("=")[0] in flags, word


def test_every_setting_that_is_named_exists() -> None:
    for path in [*HERE.iterdir(), PROJECT / "images" / "registry" / "Dockerfile"]:
        for variable in re.findall(rf"\b{PREFIX}[A-Z0-9_]+", path.read_text()):
            assert variable in VARIABLES, f"{path.name}: {variable}"


def test_the_settings_file_is_one(tmp_path: Path) -> None:
    settings = load({}, config=str(HERE / "registry.toml"))
    assert settings.listen == "0.0.0.0:5000"


def test_the_unit_of_systemd() -> None:
    sections: dict[str, dict[str, str]] = {}
    for line in (HERE / "cais-registry.service").read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, line
            section[name] = value
    assert list(sections) == ["Unit", "Service", "Install"]
    command = shlex.split(sections["Service"]["ExecStart"])
    assert command[0].endswith("/cais") and command[1] == "registry"
    check_words(command[2:])
    assert int(sections["Service"]["TimeoutStopSec"]) > load({}).stop_timeout


def test_the_compose_file() -> None:
    (document,) = documents("compose.yaml")
    service = document["services"]["registry"]
    assert service["image"] == "cais-registry:latest"
    assert {volume.partition(":")[0] for volume in service["volumes"]} == set(document["volumes"])
    assert set(service["secrets"]) == set(document["secrets"])
    given = {name: value for name, value in service["environment"].items() if not name.endswith("_FILE")}
    assert load(given).anonymous == "read"


def test_the_manifests_of_kubernetes(tmp_path: Path) -> None:
    found = {document["kind"]: document for document in documents("kubernetes.yaml")}
    assert set(found) == {"ConfigMap", "Deployment", "Service", "PodDisruptionBudget"}
    (tmp_path / "registry.toml").write_text(found["ConfigMap"]["data"]["registry.toml"])
    settings = load({}, config=str(tmp_path / "registry.toml"))
    pod = found["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    check_words(container["args"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings.listen.endswith(f":{ports['registry']}")
    assert settings.metrics_listen.endswith(f":{ports['metrics']}")
    assert pod["terminationGracePeriodSeconds"] > settings.stop_delay + settings.stop_timeout
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    labels = found["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert found["Service"]["spec"]["selector"] == labels == found["Deployment"]["spec"]["selector"]["matchLabels"]
    probes = {container[kind]["httpGet"]["path"] for kind in ("livenessProbe", "readinessProbe")}
    assert probes == {"/healthz", "/readyz"}
    dockerfile = (PROJECT / "images" / "registry" / "Dockerfile").read_text()
    assert f"EXPOSE {ports['registry']}\n" in dockerfile and "USER cais-registry" in dockerfile
    assert f"--uid {pod['securityContext']['runAsUser']} " in (PROJECT / "images" / "registry" / "rootfs").read_text()
