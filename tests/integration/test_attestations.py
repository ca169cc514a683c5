"""What an image is made of, of real distributions and tools; and that others read images with attestations."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from integration.command import Command

pytestmark = pytest.mark.root


def purls(cais: Command, name: str) -> list[str]:
    document = json.loads(cais("image", "sbom", name).stdout)
    return [package["externalRefs"][0]["referenceLocator"] for package in document["packages"][1:]]


def test_debian_has_what_dpkg_says(cais: Command, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM debian\nRUN true\n")
    cais("build", "-q", "-t", "attested", "--sbom=true", context)
    asked = ["dpkg-query", "-W", "-f", "${Package} ${Version} ${Architecture}\\n"]
    known = cais("run", "--rm", "--network", "none", "debian", *asked).text
    found = set()
    for purl in purls(cais, "attested"):
        if purl.startswith("pkg:deb/debian/"):
            name, _, rest = purl.removeprefix("pkg:deb/debian/").partition("@")
            version, _, qualifiers = rest.partition("?")
            text = f"{name} {version} {qualifiers.partition('&')[0].removeprefix('arch=')}"
            found.add(text.replace("%2B", "+"))
            assert "distro=debian-" in qualifiers
    assert found == set(known.splitlines())


def test_a_virtual_environment(cais: Command, context: Path) -> None:
    made = subprocess.run([sys.executable, "-m", "venv", context / "venv"], capture_output=True, text=True)
    if made.returncode != 0:
        pytest.skip(f"this Python makes no virtual environments: {made.stdout}{made.stderr}")
    asked = [context / "venv/bin/python", "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"]
    known = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
    (context / "Dockerfile").write_text("FROM scratch\nCOPY venv /venv\n")
    cais("build", "-q", "-t", "venv", "--sbom=true", context)
    assert set(purls(cais, "venv")) >= {f"pkg:pypi/{item['name'].lower()}@{item['version']}" for item in known}


def test_several_platforms_are_each_attested(cais: Command, context: Path) -> None:
    (context / "status").write_text("Package: a\nStatus: install ok installed\nVersion: 1\n")
    (context / "Dockerfile").write_text("FROM scratch\nCOPY status /var/lib/dpkg/\n")
    platforms = ("linux/amd64", "linux/arm64")
    cais("build", "-q", "-t", "both", "--platform", ",".join(platforms), "--provenance=true", "--sbom=true", context)
    for platform in platforms:
        document = json.loads(cais("image", "provenance", "--platform", platform, "both").stdout)
        assert document["buildType"].startswith("https://mobyproject.org/")
        assert len(json.loads(cais("image", "sbom", "--platform", platform, "both").stdout)["packages"]) == 2


@pytest.mark.peer
def test_others_read_the_image(cais: Command, context: Path, tmp_path: Path) -> None:
    if shutil.which("skopeo") is None:
        pytest.skip("needs skopeo")
    (context / "Dockerfile").write_text("FROM busybox\nENV a=b\n")
    cais("build", "-q", "-t", "example.org/attested:1", "--sbom=true", "--provenance=true", context)
    archive = tmp_path / "attested.tar"
    cais("save", "-o", archive, "example.org/attested:1")
    source = f"oci-archive:{archive}:example.org/attested:1"

    def skopeo(*words: str) -> str:
        command = ["skopeo", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    raw = json.loads(skopeo("inspect", "--raw", source))
    assert [item["platform"]["architecture"] for item in raw["manifests"]][-1] == "unknown"
    # The image alone is found by its platform; all of it can be copied, and comes back.
    assert "a=b" in json.loads(skopeo("inspect", "--config", source))["config"]["Env"]
    layout = f"oci:{tmp_path}/layout:1"
    # What changes the layers makes other images, which nothing was said about.
    skopeo("copy", "--all", "--preserve-digests", "-q", source, layout)
    skopeo("copy", "--all", "--preserve-digests", "-q", layout, f"oci-archive:{tmp_path}/again.tar:example.org/again:1")
    cais("load", "-i", tmp_path / "again.tar")
    assert cais("image", "sbom", "example.org/again:1").stdout == cais("image", "sbom", "example.org/attested:1").stdout


def test_more_packages_than_anybody_has(cais: Command, context: Path) -> None:
    """Within the memory that a command may take; what was left out is said."""
    with open(context / "status", "w") as file:
        for number in range(30_000):
            file.write(
                f"Package: package-with-a-name-{number}\nStatus: install ok installed\nVersion: 1.{number}-1+deb13u1\n"
                f"Architecture: amd64\nMaintainer: Some Developer <somebody{number}@debian.org>\nDescription: long\n\n"
            )
    (context / "Dockerfile").write_text("FROM scratch\nCOPY status /var/lib/dpkg/\n")
    cais("build", "-q", "-t", "many", "--sbom=true", context)
    document = json.loads(cais("image", "sbom", "many").stdout)
    assert len(document["packages"]) == 15_001
    assert document["comment"].startswith("There are more packages")
