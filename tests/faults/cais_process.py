"""What the fault tests share: `cais` in child processes with its own root directory, and a small image."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

BUSYBOX = "/bin/busybox"


class Cais:
    """`cais` in child processes; everything below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = directory / "root"
        self.environment = {**os.environ, "CAIS_ROOT": str(self.root)}
        self._started: list[subprocess.Popen[bytes]] = []

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "cais", *words]

    def __call__(self, *words: str, check: bool = True, **options) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words),
            env=self.environment,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
            **options,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"cais {' '.join(words)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, *words: str, **options) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.command(*words),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=options.pop("stdout", subprocess.DEVNULL),
            stderr=options.pop("stderr", subprocess.DEVNULL),
            **options,
        )
        self._started.append(process)
        return process

    def end_all(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()
        if ids := self("ps", "-aq", check=False).stdout.split():
            self("rm", "-f", *ids, check=False)

    def make_base(self) -> None:
        """The image `base`: a static busybox with all its applets."""
        context = self.context(
            "base",
            "FROM scratch\nCOPY busybox /bin/\nCOPY passwd /etc/\n"
            'RUN ["/bin/busybox", "--install", "-s", "/bin"]\nCMD ["sh"]\n',
        )
        (context / "busybox").write_bytes(Path(BUSYBOX).read_bytes())
        (context / "busybox").chmod(0o755)
        (context / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        self("build", "-q", "-t", "base", str(context))

    def context(self, name: str, dockerfile: str, files: Sequence[tuple[str, bytes]] = ()) -> Path:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        (path / "Dockerfile").write_text(dockerfile)
        for file, data in files:
            (path / file).parent.mkdir(parents=True, exist_ok=True)
            (path / file).write_bytes(data)
        return path

    def assert_sound(self) -> None:
        """`system check` finds nothing but what a killed command had not yet begun to keep, and can take that away."""
        done = self("system", "check", check=False)
        if done.returncode != 0:
            *findings, _count, _advice = done.stdout.splitlines() + done.stderr.splitlines()
            # A step's address is given back by the next build or container.
            unkept = (": is of nothing that runs", ": is of no container", ", which does not run")
            others = [line for line in findings if not line.endswith(unkept)]
            assert not others, "\n".join(others)
            self("system", "check", "--repair", check=False)
            done = self("system", "check", check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def nothing_left(cais: Cais) -> bool:
    """No bundle, no state of a runtime: nothing that was run, and nothing that was mounted for it."""
    run = cais.root / "run"
    names = [name for name in os.listdir(run) if not name.startswith(".")]
    names += os.listdir(run / ".state")
    assert names == [], [(name, sorted(os.listdir(run / name))) for name in names if (run / name).is_dir()]
    return True
