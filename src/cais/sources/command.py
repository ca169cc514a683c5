"""The git command, as nobody's: without this user's and this system's configuration, prompts, hooks and helpers.

It speaks http(s), git and ssh, follows no redirect (a redirect that ``http`` would follow is followed by it), and is
ended when it takes too long, stalls, or stores too much.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from cais.errors import CaisError, Cancelled, Failed, Invalid, Unavailable
from cais.sources.urls import redacted, without_credentials
from cais.spec.named import NamedTuple

_OUTPUT_LIMIT_BYTES = 64 << 20
_PROTOCOLS = "http:https:git:ssh"
# What it may know of this user: where programs are, who has the keys, how to get out, whom to trust.
_KEPT = ("PATH", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "TMPDIR")
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.logAllRefUpdates": "false",
    "core.symlinks": "true",
    "core.askPass": "",
    "credential.helper": "",
    "fetch.recurseSubmodules": "false",
    "fetch.unpackLimit": "1",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
    "maintenance.auto": "false",
    "pack.threads": "1",
    "safe.directory": "*",
    "submodule.recurse": "false",
}


class GitLimits(NamedTuple):
    """``seconds`` of one command; ``idle_seconds`` without a word or a byte; ``size_bytes`` of a repository."""

    seconds: float = 3600.0
    idle_seconds: float = 120.0
    size_bytes: int = 16 << 30


GIT_LIMITS = GitLimits()


class GitFailed(Failed):
    """git ended with another code than 0; ``output`` is what it said."""

    def __init__(self, message: str, output: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.output = output


class Git:
    """``environment`` is the user's, of which little is passed on; ``proxies`` are those of ``proxy_variables``."""

    def __init__(
        self,
        environment: Mapping[str, str],
        proxies: Mapping[str, str],
        limits: GitLimits = GIT_LIMITS,
        cancelled: threading.Event | None = None,
        authorization: Callable[[str], str] = lambda url: "",
    ) -> None:
        """``authorization`` gives what the header of that name says to an http(s) URL without credentials, or ""."""
        self._authorization = authorization
        self._cancelled = cancelled or threading.Event()
        self.proxies = proxies
        self._limits = limits
        self._environment = {
            **{name: environment[name] for name in _KEPT if environment.get(name)},
            **proxies,
            "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_LFS_SKIP_SMUDGE": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            # A host that is not known fails, and nobody is asked.
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes -oConnectTimeout=30 -oServerAliveInterval=15",
            "GIT_TERMINAL_PROMPT": "0",
            "HOME": "/nonexistent",
            "LC_ALL": "C",
            "XDG_CONFIG_HOME": "/nonexistent",
        }

    def run(
        self,
        *words: str,
        directory: str = "",
        url: str = "",
        environment: Mapping[str, str] | None = None,
        size_of: str = "",
    ) -> bytes:
        """What ``git words...`` prints. ``directory`` is the repository (``--git-dir``). ``url`` is what it is about:
        its credentials are given to its host, and stand in no argument. ``size_of`` is what must not grow too large.

        Raises GitFailed, Unavailable (no git, too slow), Invalid (too large).
        """
        variables = {**self._environment, **(environment or {})}
        bare, user, password = without_credentials(url)
        if url.startswith(("http://", "https://")):
            said_to_it = basic(user, password) if user else self._authorization(bare)
            if said_to_it:
                # Not on the command line, which every user of this machine may see.
                variables.update(
                    GIT_CONFIG_COUNT="1",
                    GIT_CONFIG_KEY_0=f"http.{bare}.extraHeader",
                    GIT_CONFIG_VALUE_0=f"Authorization: {said_to_it}",
                )
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        git = ["git", *settings, *([f"--git-dir={directory}"] if directory else []), *words]
        try:
            process = subprocess.Popen(
                git,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=variables,
                cwd=directory or "/",
                start_new_session=True,
                umask=0o022,
            )
        except FileNotFoundError:
            raise Unavailable("git is needed for this and is not installed", hint="On Debian: apt-get install git")
        with process:
            try:
                output, said = self._watched(process, redacted(url), size_of)
                code = process.wait()
            except BaseException:
                _kill(process)
                raise
        if code:
            raise _failed(words, redacted(url), code, said)
        return output

    def _watched(self, process: subprocess.Popen[bytes], shown: str, size_of: str) -> tuple[bytes, bytes]:
        """All that it prints, and the end of what it says."""
        assert process.stdout is not None and process.stderr is not None
        limits = self._limits
        poll = select.poll()
        out, error = process.stdout.fileno(), process.stderr.fileno()
        collected = {out: bytearray(), error: bytearray()}
        for descriptor in collected:
            poll.register(descriptor, select.POLLIN)
        started = moved = looked = time.monotonic()
        size_bytes = 0
        left = 2
        while left:
            for descriptor, _ in poll.poll(500):
                data = os.read(descriptor, 1 << 16)
                if not data:
                    poll.unregister(descriptor)
                    left -= 1
                    continue
                moved = time.monotonic()
                collected[descriptor] += data
                if descriptor == error:
                    del collected[error][: -(1 << 16)]
                elif len(collected[out]) > _OUTPUT_LIMIT_BYTES:
                    raise Invalid(f"failed to read {shown}: git prints more than {_OUTPUT_LIMIT_BYTES >> 20} MiB")
            if self._cancelled.is_set():
                raise Cancelled(f"stopped fetching {shown}")
            now = time.monotonic()
            if size_of and now - looked >= 1:
                looked = now
                size = size_of_files(size_of)
                if size != size_bytes:
                    size_bytes, moved = size, now
                if size > limits.size_bytes:
                    limit = limits.size_bytes
                    raise Invalid(
                        f"failed to fetch remote {shown}: it is larger than {limit} bytes, which is the limit"
                    )
            if now - moved > limits.idle_seconds:
                raise Unavailable(
                    f"failed to fetch remote {shown}: nothing came for {limits.idle_seconds:g} seconds: it stalls"
                )
            if now - started > limits.seconds:
                raise Unavailable(f"failed to fetch remote {shown}: it took longer than {limits.seconds:g} seconds")
        return bytes(collected[out]), bytes(collected[error])


def basic(user: str, password: str) -> str:
    """The value of an Authorization header (RFC 7617)."""
    import base64

    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def size_of_files(directory: str) -> int:
    """The sum of the files' sizes; what disappears meanwhile does not count."""
    total = 0
    for path, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except FileNotFoundError:
                pass
    return total


def _kill(process: subprocess.Popen[bytes]) -> None:
    """It and its children: ssh, a remote helper."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _failed(words: Sequence[str], shown: str, code: int, said: bytes) -> CaisError:
    text = redacted(said.decode("utf-8", "replace"))
    lines = ["".join(c if c.isprintable() else "?" for c in line) for line in text.splitlines() if line.strip()]
    hint = ""
    if any("terminal prompts disabled" in line or "Authentication failed" in line for line in lines):
        hint = "It is not public, or not there. Cais asks for no password: write https://USER:TOKEN@..., or use ssh."
    elif any("Host key verification failed" in line for line in lines):
        hint = "Make the host known first: ssh-keyscan HOST >> ~/.ssh/known_hosts (and compare the key)."
    about = f"failed to fetch remote {shown}" if shown else f"git {words[0]} failed"
    reason = "\n".join(line for line in lines[-5:] if line) or f"exit status {code}"
    return GitFailed(f"{about}: {reason}", "\n".join(lines), hint=hint)
