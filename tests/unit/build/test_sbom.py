"""Packages of a file system: the databases as they really are, and as nobody wrote them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from cais.build.sbom import scan as scanning
from cais.build.sbom.package import Package, cleaned, docker_purl, expression
from cais.build.sbom.scan import scan
from cais.build.sbom.spdx import document


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def purls(root: Path) -> list[str]:
    return [package.purl for package in scan(str(root))]


DPKG = """\
Package: libc6
Status: install ok installed
Version: 2.41-12+deb13u1
Architecture: amd64
Multi-Arch: same
Source: glibc
Maintainer: GNU Libc Maintainers <debian-glibc@lists.debian.org>
Description: GNU C Library
 long, and Version: 9 in it
Conffiles:
 /etc/ld.so.conf.d/x86_64-linux-gnu.conf d4e7a7b88a71b5ffd9e2644e71a0cfab

Package: gone
Status: deinstall ok config-files
Version: 1

Package: epoch
Status: hold ok installed
Version: 1:2.3~rc1
Architecture: all
"""


class TestSystem:
    def test_debian(self, tmp_path: Path) -> None:
        root = write(tmp_path, {"var/lib/dpkg/status": DPKG, "etc/os-release": 'ID=debian\nVERSION_ID="13"\n'})
        epoch, libc = scan(str(root))
        assert libc.purl == "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=debian-13"
        assert epoch.purl == "pkg:deb/debian/epoch@1:2.3~rc1?arch=all&distro=debian-13"
        assert (libc.source, libc.supplier) == ("glibc", "GNU Libc Maintainers <debian-glibc@lists.debian.org>")

    def test_distroless(self, tmp_path: Path) -> None:
        text = "Package: base-files\nVersion: 12.4\nArchitecture: amd64\n"
        root = write(tmp_path, {"var/lib/dpkg/status.d/base": text, "var/lib/dpkg/status.d/base.md5sums": "x  y\n"})
        assert purls(root) == ["pkg:deb/debian/base-files@12.4?arch=amd64"]

    def test_alpine(self, tmp_path: Path) -> None:
        text = (
            "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\nL:MIT\no:musl\nm:Some One <a@b>\nF:lib\nR:ld-musl-x86_64.so.1\n"
            "a:0:0:755\n\nP:busybox\nV:1.36.1-r29\nA:x86_64\nL:GPL-2.0-only\n"
        )
        release = "ID=alpine\nVERSION_ID=3.20.1\n"
        # From 3.22 on lib is a link to usr/lib.
        root = write(tmp_path, {"usr/lib/apk/db/installed": text, "usr/lib/os-release": release})
        (root / "lib").symlink_to("usr/lib")
        busybox, musl = scan(str(root))
        assert musl.purl == "pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64&distro=alpine-3.20.1"
        assert (musl.license, busybox.license) == ("MIT", "GPL-2.0-only")

    def test_this_machine(self) -> None:
        if not os.path.exists("/var/lib/dpkg/status"):
            pytest.skip("no Debian")
        from cais.build.sbom.system import Distribution, debian
        from cais.build.tree import Tree

        with Tree("/") as tree:
            found = {package.name for package in debian(tree, Distribution(tree), ())}
        assert {"dpkg", "libc6", "bash"} <= found


class TestPython:
    def test_what_this_interpreter_has(self, tmp_path: Path) -> None:
        """pip's own metadata, compared with what Python's library reads of it."""
        packages = sysconfig.get_path("purelib")
        found = {(package.name, package.version) for package in scan(packages) if package.kind == "pypi"}
        known = {
            (item.metadata["Name"].lower().replace("_", "-"), item.version)
            for item in importlib.metadata.distributions(path=[packages])
        }
        assert ("pytest", pytest.__version__) in found
        assert known <= found

    def test_eggs(self, tmp_path: Path) -> None:
        text = "Metadata-Version: 2.1\nName: Some_Thing\nVersion: 1.0+local\nLicense: MIT\n\nVersion: 9\n"
        root = write(tmp_path, {"a/x.egg-info/PKG-INFO": text, "b/y-1.egg-info": text.replace("1.0", "2.0")})
        assert purls(root) == ["pkg:pypi/some-thing@1.0%2Blocal", "pkg:pypi/some-thing@2.0%2Blocal"]


class TestNode:
    def test_node_modules(self, tmp_path: Path) -> None:
        def package(name: str, version: str) -> str:
            return json.dumps({"name": name, "version": version, "license": "MIT"})

        root = write(tmp_path, {
            "app/package.json": package("app", "9.9.9"),  # the project, not a package that is installed
            "app/node_modules/left/package.json": package("left", "1.0.0"),
            "app/node_modules/left/node_modules/deep/package.json": package("deep", "2.0.0"),
            "app/node_modules/left/lib/package.json": package("part", "3.0.0"),
            "app/node_modules/@scope/right/package.json": package("@scope/right", "4.0.0"),
            "app/node_modules/.package-lock.json": json.dumps({"packages": {"node_modules/x": {"version": "1"}}}),
        })  # fmt: skip
        assert purls(root) == ["pkg:npm/%40scope/right@4.0.0", "pkg:npm/deep@2.0.0", "pkg:npm/left@1.0.0"]

    @pytest.mark.parametrize(
        "lock",
        [
            {"lockfileVersion": 3, "packages": {
                "": {"name": "app", "version": "9"},
                "node_modules/left": {"version": "1.0.0", "license": "ISC"},
                "node_modules/left/node_modules/@s/deep": {"version": "2.0.0"},
                "node_modules/here": {"link": True, "resolved": "here"},
            }},
            {"lockfileVersion": 1, "dependencies": {
                "left": {"version": "1.0.0", "dependencies": {"@s/deep": {"version": "2.0.0"}}},
                "place": {"version": "file:../place"},
            }},
        ],
        ids=["3", "1"],
    )  # fmt: skip
    def test_lock_files(self, tmp_path: Path, lock: dict[str, Any]) -> None:
        root = write(tmp_path, {"app/package-lock.json": json.dumps(lock)})
        assert purls(root) == ["pkg:npm/%40s/deep@2.0.0", "pkg:npm/left@1.0.0"]


class TestHostile:
    def test_what_is_no_metadata_is_no_package(self, tmp_path: Path) -> None:
        root = write(tmp_path, {
            "var/lib/dpkg/status": b"Package: \xff\xfe\0\nStatus: install ok installed\nVersion: 1\n\nPackage\n::\n\n",
            "lib/apk/db/installed": "P:\nV:1\n\nP:" + "x" * 10_000 + "\nV:1\n\n",
            "a/x.dist-info/METADATA": "Name: " + "y" * (1 << 20) + "\nVersion: 1\n",
            "n/node_modules/a/package.json": "[" * 100_000,
            "n/node_modules/b/package.json": '{"name": ["b"], "version": {"a": 1}}',
            "n/node_modules/c/package.json": '{"name": "../c", "version": "1"}',
            "n/node_modules/d/package.json": '{"name": "\\u001b[2Jd\\n", "version": "1\\u0000"}',
            "l/package-lock.json": json.dumps({"dependencies": {"a": {"version": "1", "dependencies": [1]}, "b": 2}}),
        })  # fmt: skip
        assert purls(root) == [
            "pkg:deb/debian/%EF%BF%BD%EF%BF%BD@1", "pkg:npm/%5B2jd@1", "pkg:npm/a@1",
        ]  # fmt: skip

    def test_nothing_outside_the_tree_is_read(self, tmp_path: Path) -> None:
        outside = write(tmp_path / "outside", {"status": DPKG, "package.json": '{"name": "out", "version": "1"}'})
        root = write(tmp_path / "root", {"app/node_modules/inside/package.json": '{"name": "in", "version": "1"}'})
        (root / "var/lib/dpkg").mkdir(parents=True)
        (root / "var/lib/dpkg/status").symlink_to(outside / "status")
        (root / "app/node_modules/out").symlink_to(outside)
        (root / "app/node_modules/loop").symlink_to("loop")
        (root / "app/up").symlink_to("../../..")
        assert purls(root) == ["pkg:npm/in@1"]

    def test_pipes_and_directories_do_not_hold_it_up(self, tmp_path: Path) -> None:
        (tmp_path / "var/lib/dpkg/status").mkdir(parents=True)
        (tmp_path / "n/node_modules/a").mkdir(parents=True)
        os.mkfifo(tmp_path / "n/node_modules/a/package.json")
        assert purls(tmp_path) == []

    def test_a_tree_of_packages_without_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(scanning, "PACKAGE_LIMIT", 10)
        text = "".join(f"Package: p{n}\nStatus: install ok installed\nVersion: 1\n\n" for n in range(100))
        assert len(scan(str(write(tmp_path, {"var/lib/dpkg/status": text})))) == 10


def test_a_document() -> None:
    packages = [
        Package("deb", "debian", "a+b", "1", "var/lib/dpkg/status", supplier="A <a@b>", source="c"),
        Package("npm", "@s", "p", "2", "app/node_modules/@s/p/package.json", license="MIT"),
    ]
    made = document(packages, name="app:1", created="2026-01-02T03:04:05.678Z", tool="cais-1")
    assert (made["spdxVersion"], made["SPDXID"], made["dataLicense"]) == ("SPDX-2.3", "SPDXRef-DOCUMENT", "CC0-1.0")
    assert made["creationInfo"] == {"created": "2026-01-02T03:04:05Z", "creators": ["Tool: cais-1"]}
    image, first, second = made["packages"]
    assert image["name"] == "app:1"
    assert first["supplier"] == "Person: A (a@b)"
    assert second["name"] == "@s/p"
    assert second["licenseDeclared"] == "MIT"
    assert first["externalRefs"][0]["referenceLocator"] == "pkg:deb/debian/a%2Bb@1"
    ids = [package["SPDXID"] for package in made["packages"]]
    allowed = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-")
    assert len(set(ids)) == 3
    assert all(allowed.issuperset(id) for id in ids)
    assert [item["relationshipType"] for item in made["relationships"]] == ["DESCRIBES", "CONTAINS", "CONTAINS"]
    assert document(packages, name="app:1", created="2026-01-02T03:04:05.678Z", tool="cais-1") == made
    partial = document(packages, name="app:1", created="2026-01-02T03:04:05.678Z", tool="cais-1", partial=True)
    assert partial["comment"] == "There are more packages: these are 2."


@pytest.mark.parametrize(
    ("name", "tag", "digest", "expected"),
    [
        ("debian", "13", "", "pkg:docker/debian@13?platform=linux%2Famd64"),
        ("example.org:5000/a/b", "1", "", "pkg:docker/example.org:5000/a/b@1?platform=linux%2Famd64"),
        ("a", "", "sha256:11", "pkg:docker/a@sha256:11?platform=linux%2Famd64"),
        ("a", "1", "sha256:11", "pkg:docker/a@1?digest=sha256:11&platform=linux%2Famd64"),
    ],
)
def test_purls_of_images(name: str, tag: str, digest: str, expected: str) -> None:
    assert docker_purl(name, tag, digest, "linux/amd64") == expected


def test_licenses_are_expressions_or_nothing() -> None:
    assert expression("MIT OR (Apache-2.0 AND BSD-3-Clause)") == "MIT OR (Apache-2.0 AND BSD-3-Clause)"
    assert expression("BSD") == expression("see LICENSE") == expression(None) == expression("") == ""


def test_texts_are_cleaned() -> None:
    assert cleaned(" a\x1b[1m\n ") == "a[1m"
    assert cleaned("x" * 1000) == cleaned(7) == ""
