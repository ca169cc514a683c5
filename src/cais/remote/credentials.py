"""Credentials of registries, as Docker keeps them: ``config.json`` and programs called ``docker-credential-*``.

Where one is: ``credHelpers`` names a program for one registry, ``credsStore`` one for all, else ``auths`` has it, as
base64 of ``user:password``. Nothing of it is in an error: what a program writes may be anything, and is cut down.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from cais.errors import CaisError, Failed, Invalid, Unavailable, from_os_error
from cais.remote.endpoint import HUB_CREDENTIALS, credentials_key, host_of
from cais.spec.encoding import decode_object
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG_LIMIT_BYTES = 4 << 20
HELPER_SECONDS = 60.0
_HELPER_LIMIT_BYTES = 1 << 20
_IDENTITY = "<token>"  # the user's name where the secret is an identity token
_NOT_FOUND = ("credentials not found in native keychain", "no credentials server URL", "no credentials username")


class Login(NamedTuple):
    """A user and a password, or an identity token (OAuth2). Shows none of its secrets."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    # Given to the registry as it is, without asking a token server.
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Login({self.username!r}, ...)" if self.username else "Login(...)"


class CredentialFile:
    """``config.json`` of a directory, which need not be there. ``search_path`` is PATH, for the programs.

    ``text`` stands for the file where it is not "": JSON with ``auths`` only (DOCKER_AUTH_CONFIG).
    """

    def __init__(self, directory: str, search_path: str = "", text: str = "") -> None:
        self.path = os.path.join(directory, "config.json")
        self._search_path = search_path
        self._text = text

    def get(self, registry: str) -> Login | None:
        """Of a registry, by the host in its names. Raises Unavailable or Failed (a program), Invalid (the file)."""
        if self._text:
            fields = decode_object(self._text.encode(), "DOCKER_AUTH_CONFIG", CONFIG_LIMIT_BYTES)
            found = _of_auths(fields, registry, "DOCKER_AUTH_CONFIG")
            if found is not None:
                return found
        fields = self._read()
        helper = self._helper(fields, registry)
        if helper is not None:
            return helper.get(credentials_key(registry))
        return _of_auths(fields, registry, self.path)

    def store(self, registry: str, login: Login) -> str:
        """Keeps it, and takes any older one away. Returns the program that has it, or "" for the file itself.

        Raises Unavailable or Failed (a program), Invalid, Denied.
        """
        with _Locked(self.path):
            fields = self._read()
            helper = self._helper(fields, registry)
            key = credentials_key(registry)
            auths = _auths(fields, self.path)
            for old in [name for name in auths if _host_of_key(name) == _host_of_key(key)]:
                del auths[old]
            if helper is not None:
                helper.store(key, login)
                auths[key] = {}  # as Docker does: a sign that somebody is logged in
            else:
                auths[key] = _entry(login)
            fields["auths"] = auths
            self._write(fields)
            return helper.name if helper is not None else ""

    def erase(self, registry: str) -> bool:
        """Forgets it; False where there was none. Raises Unavailable or Failed (a program), Invalid, Denied."""
        with _Locked(self.path):
            fields = self._read()
            key = credentials_key(registry)
            auths = _auths(fields, self.path)
            mine = [name for name in auths if _host_of_key(name) == _host_of_key(key)]
            helper = self._helper(fields, registry)
            was_there = bool(mine)
            if helper is not None:
                was_there = was_there or helper.get(key) is not None
                helper.erase(key)
            for name in mine:
                del auths[name]
            if mine:
                fields["auths"] = auths
                self._write(fields)
            return was_there

    def registries(self) -> list[str]:
        """The registries somebody is logged in to, by the keys of the file and of the program for all."""
        fields = self._read()
        found = dict.fromkeys(_auths(fields, self.path))
        store = fields.get("credsStore")
        if isinstance(store, str) and store:
            found.update(dict.fromkeys(_Helper(store, self._search_path).list()))
        return list(found)

    def _helper(self, fields: Mapping[str, Any], registry: str) -> _Helper | None:
        helpers = fields.get("credHelpers")
        name: object = None
        if isinstance(helpers, dict):
            host = _host_of_key(credentials_key(registry))
            name = next((value for key, value in helpers.items() if _host_of_key(key) == host), None)
        name = name or fields.get("credsStore")
        if not name:
            return None
        if not isinstance(name, str) or "/" in name or name.startswith("."):
            raise Invalid(f"{self.path}: {name!r} is no name of a credential helper")
        return _Helper(name, self._search_path)

    def _read(self) -> dict[str, Any]:
        try:
            with open(self.path, "rb") as file:
                raw = file.read(CONFIG_LIMIT_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise from_os_error(error, f"read {self.path}")
        if not raw.strip():
            return {}
        try:
            return decode_object(raw, self.path, CONFIG_LIMIT_BYTES)
        except CaisError:
            # What the file has is not repeated: it may be a password.
            raise Invalid(f"{self.path} is no JSON object, or has a key twice")

    def _write(self, fields: Mapping[str, Any]) -> None:
        """Renamed to its place when it is whole; only its owner may read it. A link to it stays one."""
        import json

        from cais.host.files import write_atomically

        path = os.path.realpath(self.path)
        try:
            write_atomically(path, json.dumps(fields, indent="\t", ensure_ascii=False).encode() + b"\n", 0o600)
        except OSError as error:
            raise from_os_error(error, f"write {path}")


class _Locked:
    """One writer of a file at a time, by a lock on its directory."""

    def __init__(self, path: str) -> None:
        self._directory = os.path.dirname(path)
        self._descriptor = -1

    def __enter__(self) -> _Locked:
        import fcntl

        try:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            self._descriptor = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        except OSError as error:
            raise from_os_error(error, f"write to {self._directory}")
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


class _Helper:
    """A program ``docker-credential-NAME``, which is told what to do and answers in JSON (its protocol is Docker's)."""

    def __init__(self, name: str, search_path: str) -> None:
        self.name = f"docker-credential-{name}"
        self._search_path = search_path

    def get(self, key: str) -> Login | None:
        code, said = self._run("get", key.encode())
        if code:
            if any(text in said.decode("utf-8", "replace") for text in _NOT_FOUND):
                return None
            raise self._failure("getting", said)
        try:
            fields = decode_object(said, "its answer", _HELPER_LIMIT_BYTES)
        except CaisError:
            raise Failed(f"error getting credentials: {self.name} did not answer with a JSON object")
        username, secret = fields.get("Username"), fields.get("Secret")
        if not isinstance(username, str) or not isinstance(secret, str):
            raise Failed(f"error getting credentials: the answer of {self.name} has no Username or no Secret")
        if username == _IDENTITY:
            return Login(identity_token=secret)
        return Login(username, secret) if username or secret else None

    def store(self, key: str, login: Login) -> None:
        from cais.spec.encoding import encode

        user = _IDENTITY if login.identity_token else login.username
        value = {"ServerURL": key, "Username": user, "Secret": login.identity_token or login.password}
        code, said = self._run("store", encode(value))
        if code:
            raise self._failure("storing", said)

    def erase(self, key: str) -> None:
        code, said = self._run("erase", key.encode())
        if code and not any(text in said.decode("utf-8", "replace") for text in _NOT_FOUND):
            raise self._failure("erasing", said)

    def list(self) -> list[str]:
        code, said = self._run("list", b"")
        if code:
            raise self._failure("listing", said)
        try:
            return list(decode_object(said, "its answer", _HELPER_LIMIT_BYTES))
        except CaisError:
            raise Failed(f"error listing credentials: {self.name} did not answer with a JSON object")

    def _failure(self, doing: str, said: bytes) -> Failed:
        line = said.decode("utf-8", "replace").strip().partition("\n")[0]
        shown = "".join(char for char in line if char.isprintable())[:200]
        # A program that fails and writes JSON may have written a secret.
        return Failed(f"error {doing} credentials - err: {self.name}: {'' if shown.startswith('{') else shown}")

    def _run(self, verb: str, given: bytes) -> tuple[int, bytes]:
        import shutil
        import subprocess

        program = shutil.which(self.name, path=self._search_path or os.defpath)
        if program is None:
            raise Unavailable(
                f'error getting credentials - err: exec: "{self.name}": executable file not found in $PATH, out: ``',
                hint="Install it, or take it out of credsStore and credHelpers of Docker's config.json.",
            )
        try:
            done = subprocess.run(
                [program, verb], input=given, capture_output=True, timeout=HELPER_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise Unavailable(f"{self.name} did not answer within {HELPER_SECONDS:g} seconds") from None
        except OSError as error:
            raise from_os_error(error, f"run {program}")
        return done.returncode, done.stdout[:_HELPER_LIMIT_BYTES]


def _auths(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    auths = fields.get("auths") or {}
    if not isinstance(auths, dict):
        raise Invalid(f"{where}: auths is not an object")
    return dict(auths)


def _of_auths(fields: Mapping[str, Any], registry: str, where: str) -> Login | None:
    """By Docker's key, or any that has the same host."""
    auths = _auths(fields, where)
    key = credentials_key(registry)
    entry = auths.get(key)
    if not entry:
        entry = next(
            (value for name, value in auths.items() if value and _host_of_key(name) == _host_of_key(key)), None
        )
    return _login(entry, registry, where) if entry else None


def _login(entry: Any, registry: str, where: str) -> Login | None:
    bad = Invalid(f"{where}: the credentials of {registry} cannot be understood", hint="Log in again: cais login")
    if not isinstance(entry, dict):
        raise bad
    texts = {key: entry.get(key) or "" for key in ("username", "password", "auth", "identitytoken", "registrytoken")}
    if not all(isinstance(text, str) for text in texts.values()):
        raise bad
    username, password = texts["username"], texts["password"]
    if texts["auth"]:
        from base64 import b64decode

        try:
            username, colon, password = b64decode(texts["auth"]).decode().strip("\0").partition(":")
        except ValueError:
            raise bad from None
        if not colon:
            raise bad
    login = Login(username, password, texts["identitytoken"], texts["registrytoken"])
    return login if any(login) else None


def _entry(login: Login) -> dict[str, str]:
    from base64 import b64encode

    entry = {"auth": b64encode(f"{login.username}:{login.password}".encode()).decode()}
    if login.identity_token:
        entry = {
            "auth": b64encode(f"{login.username}:".encode()).decode(),
            "identitytoken": login.identity_token,
        }
    return entry


def _host_of_key(key: str) -> str:
    """The host of a key: Docker writes whole URLs, others a host, or Docker's own registry by one of its names."""
    host = key.partition("://")[2] or key
    host = host.partition("/")[0].lower()
    hub = HUB_CREDENTIALS.partition("://")[2].partition("/")[0]
    return hub if host_of(host) in ("docker.io", "registry-1.docker.io", hub) else host
