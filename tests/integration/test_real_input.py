"""Real input: many files, large files, names that are no text, a wide graph of stages, capabilities."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from integration.command import Command

pytestmark = pytest.mark.root


def write(directory: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(content)


def test_a_diamond_of_ten_stages(cais: Command, context: Path) -> None:
    middle = [f"FROM base AS s{n}\nRUN echo {n} >/{n}.txt\n" for n in range(8)]
    copies = "".join(f"COPY --from=s{n} /{n}.txt /all/\n" for n in range(8))
    text = "FROM busybox AS base\nRUN mkdir /all\n" + "".join(middle) + f"FROM base\n{copies}RUN cat /all/* >/sum\n"
    never = "FROM busybox AS never\nRUN false\n"
    write(context, {"Dockerfile": never + text})
    # What RUN writes has the time of the run, unless this sets it.
    pinned = Command(cais.path, cais.root)
    pinned.env["SOURCE_DATE_EPOCH"] = "1700000000"
    pinned("build", "-t", "diamond", context)
    said = cais("run", "--rm", "--network", "none", "diamond", "cat", "/sum").text
    assert said.split() == [str(n) for n in range(8)]
    first = cais.inspect("diamond")
    # Built again without a cache, in whatever order its stages finish: the same image.
    pinned("build", "--no-cache", "-t", "diamond", context)
    again = cais.inspect("diamond")
    assert again["Id"] == first["Id"]


def test_twenty_thousand_files(cais: Command, context: Path) -> None:
    for number in range(20_000):
        path = context / f"d{number % 100}" / f"f{number}"
        if number < 100:
            path.parent.mkdir()
        path.write_text(f"{number}\n")
    write(context, {"../Dockerfile": "FROM busybox\nCOPY . /data\n"})
    build = ("build", "-q", "-f", context / "../Dockerfile", "-t", "many", context)
    first = cais(*build).text
    script = "find /data -type f | wc -l; cat /data/d*/* | sort -n | tail -n 1"
    assert cais("run", "--rm", "--network", "none", "many", "sh", "-c", script).text.split() == ["20000", "19999"]
    (context / "d7" / "f7").touch()
    assert cais(*build).text == first
    (context / "d7" / "f7").write_text("changed\n")
    assert cais(*build).text != first
    assert cais("run", "--rm", "--network", "none", "many", "cat", "/data/d7/f7").text == "changed"


def test_a_file_of_one_gibibyte(cais: Command, context: Path, tmp_path: Path) -> None:
    with open(context / "big", "wb") as file:
        file.seek((1 << 30) - 8)
        file.write(b"the end\n")
    write(context, {"Dockerfile": "FROM busybox\nCOPY big /\n"})
    cais("build", "-t", "big", context)
    cais("save", "-o", tmp_path / "big.tar", "big")
    assert (tmp_path / "big.tar").stat().st_size > 1 << 30
    cais("rmi", "big")
    cais("load", "-i", tmp_path / "big.tar")
    script = "stat -c %s /big; tail -c 8 /big"
    assert cais("run", "--rm", "--network", "none", "big", "sh", "-c", script).text.splitlines() == [
        str(1 << 30),
        "the end",
    ]
    cais("rmi", "big")


NAMES = (
    b"with space",
    b"new\nline",
    b"tab\tand\\backslash",
    b"not utf-8 \xff\xfe",
    "ünïcode".encode(),
    b"'quote\"",
    b"x" * 255,
)


def test_names_that_are_no_text(cais: Command, context: Path, tmp_path: Path) -> None:
    directory = os.fsencode(context / "names")
    os.mkdir(directory)
    for number, name in enumerate(NAMES):
        with open(os.path.join(directory, name), "wb") as file:
            file.write(b"%d" % number)
    write(context, {"Dockerfile": "FROM busybox\nCOPY names /names\nRUN cp -r /names /again\n"})
    cais("build", "-t", "names", context)
    for attempt in range(2):
        for place in ("/names", "/again"):
            done = cais("run", "--rm", "--network", "none", "names", "find", place, "-type", "f", "-print0")
            found = {path.rpartition(b"/")[2] for path in done.stdout.split(b"\0") if path}
            assert found == set(NAMES), (attempt, place)
        if attempt == 0:
            before = cais.inspect("names")["Id"]
            cais("save", "-o", tmp_path / "names.tar", "names")
            cais("rmi", "-f", "names")
            cais("load", "-i", tmp_path / "names.tar")
            assert cais.inspect("names")["Id"] == before


PROGRAM = r"""
#include <stdio.h>
#include <sys/stat.h>
#include <sys/xattr.h>
int main(int count, char **words)
{
    unsigned char value[64];
    struct stat facts;
    for (int i = 1; i < count; i++) {
        long size = getxattr(words[i], "security.capability", value, sizeof value);
        stat(words[i], &facts);
        printf("%o ", facts.st_mode & 07777);
        for (long n = 0; n < size; n++) printf("%02x", value[n]);
        printf("\n");
    }
    return 0;
}
"""
# cap_net_raw, permitted and effective, in the kernel's second format
CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")


def test_a_capability_and_a_setuid_bit_survive(cais: Command, context: Path, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    write(tmp_path, {"show.c": PROGRAM})
    subprocess.run(["gcc", "-static", "-Os", "-o", context / "show", tmp_path / "show.c"], check=True)
    with tarfile.open(context / "files.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        capable = tarfile.TarInfo("bin/capable")
        capable.mode, capable.size = 0o755, 3
        capable.pax_headers = {"SCHILY.xattr.security.capability": CAPABILITY.decode("utf-8", "surrogateescape")}
        tar.addfile(capable, io.BytesIO(b"abc"))
        setuid = tarfile.TarInfo("bin/setuid")
        setuid.mode, setuid.size = 0o4755, 3
        tar.addfile(setuid, io.BytesIO(b"abc"))
    text = "FROM busybox AS first\nADD files.tar /\nFROM busybox\nCOPY --from=first /bin/capable /bin/setuid /bin/\n"
    write(context, {"Dockerfile": text + "COPY show /bin/\nRUN cp -p /bin/setuid /bin/setuid-2\n"})
    cais("build", "-t", "special", context)
    expected = [f"755 {CAPABILITY.hex()}", "4755 ", "4755 "]
    show = ("run", "--rm", "--network", "none", "special", "show", "/bin/capable", "/bin/setuid", "/bin/setuid-2")
    assert cais(*show).stdout.decode().splitlines() == expected
    cais("save", "-o", tmp_path / "special.tar", "special")
    cais("rmi", "-f", "special")
    cais("load", "-i", tmp_path / "special.tar")
    assert cais(*show).stdout.decode().splitlines() == expected


def test_the_debian_image_is_what_it_says(cais: Command) -> None:
    image = cais.inspect("debian")
    assert image["Config"]["Cmd"] == ["bash"]
    assert "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" in image["Config"]["Env"]
    assert set(image["RepoTags"]) >= {"debian:latest", "debian:bookworm"}
    said = cais(
        "run",
        "--rm",
        "--network",
        "none",
        "debian",
        "bash",
        "-c",
        "cat /etc/debian_version; whoami; ls -A /dev | wc -l",
    )
    version, user, _ = said.text.split()
    assert version.startswith("12.")
    assert user == "root"


def test_the_base_images_are_made_the_same_twice(cais: Command, tmp_path: Path) -> None:
    other = Command(cais.path, tmp_path / "root")
    made = subprocess.run(
        [Path(__file__).parents[2] / "images" / "make", "busybox"],
        env={**other.env, "CAIS": str(other.path)},
        check=True,
    )
    assert made.returncode == 0
    assert other.inspect("busybox")["Id"] == cais.inspect("busybox")["Id"]
    assert json.loads(other("history", "--format", "json", "busybox").stdout.splitlines()[0])
