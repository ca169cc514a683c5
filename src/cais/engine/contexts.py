"""Contexts: other places where commands may run, by name: another root directory, or a host reached by ssh.

One file of JSON a context in the user's own directory of settings, and one that names the current one. Files are
written whole, and hold no secret: who may log in is between ssh and the host.
"""

from __future__ import annotations

import json
import os

from cais.errors import Conflict, Corrupt, Invalid, NotFound, Unsupported, from_os_error
from cais.host.files import random_name, read_start, write_all, write_atomically
from cais.spec.named import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, BinaryIO

DEFAULT = "default"
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.+-")
_HOST = _FIRST | frozenset("_.-:[]%")
_USER = _FIRST | frozenset("_.-+\\")
_LIMIT_BYTES = 1 << 20
_NAME_LIMIT = 200
_TLS_KEYS = ("ca", "cert", "key", "skip-tls-verify")


class Endpoint(NamedTuple):
    """``host``: ``ssh://[user@]host[:port]``, or "" for this host. ``root``: a root directory there, or "" for the
    user's own. ``program``: what is called there, "" for ``cais``."""

    host: str = ""
    root: str = ""
    program: str = ""

    @property
    def shown(self) -> str:
        """As a URL, for lists."""
        return self.host or (f"file://{self.root}" if self.root else "")


class Context(NamedTuple):
    """A place where commands run, by its name."""

    name: str
    endpoint: Endpoint = Endpoint()
    description: str = ""

    def document(self) -> dict[str, Any]:
        """As Docker writes it; what is our own stands beside."""
        endpoints: dict[str, Any] = {"docker": {"Host": self.endpoint.shown, "SkipTLSVerify": False}}
        own = {"Root": self.endpoint.root, "Program": self.endpoint.program}
        endpoints["cais"] = {key: value for key, value in own.items() if value}
        metadata = {"Description": self.description} if self.description else {}
        return {"Name": self.name, "Metadata": metadata, "Endpoints": endpoints}


def check_host(url: str) -> str:
    """``ssh://[user@]host[:port]``. Raises Invalid, Unsupported, with Docker's words."""
    kind, separator, rest = url.partition("://")
    if separator and kind in ("tcp", "unix", "npipe", "fd", "http", "https"):
        raise Unsupported(
            f"unable to use {url!r}: there is no daemon to connect to",
            hint="Another host is reached by ssh (host=ssh://user@host), another root directory by --cais root=/path.",
        )
    user, at, place = rest.rpartition("@")
    port = ""
    if place.rpartition(":")[2].isdecimal() and not place.endswith("]"):
        place, _, port = place.rpartition(":")
    bad = (
        kind != "ssh" or not separator or not place or not _HOST.issuperset(place) or place[0] == "-"
        or (at and (not user or not _USER.issuperset(user) or user[0] == "-"))
        or (port and not 0 < int(port[:6]) < 65536)
    )  # fmt: skip
    if bad:
        raise Invalid(f"unable to parse docker host `{url}`", hint="Give ssh://[USER@]HOST[:PORT].")
    return url


def parse_endpoint(texts: Sequence[str], get: Callable[[str], Context]) -> Endpoint:
    """``host=..,root=..,program=..,from=CONTEXT``, from ``--docker`` and ``--cais``. Raises Invalid, Unsupported."""
    found = Endpoint()
    for text in texts:
        for field in text.split(","):
            key, equals, value = field.partition("=")
            if key == "from":
                found = get(value).endpoint
            elif key == "host":
                if value.startswith("file://"):
                    found = found._replace(host="", root=_check_path(value.removeprefix("file://"), "root"))
                else:
                    found = found._replace(host=check_host(value) if value else "")
            elif key in ("root", "program"):
                found = found._replace(**{key: _check_path(value, key)})
            elif key in _TLS_KEYS:
                raise Unsupported(f"unable to use {key!r}: ssh knows whom it trusts", hint="Give host=ssh://user@host.")
            else:
                raise Invalid(
                    f"unable to create docker endpoint config: unrecognized config key: {key}"
                    if equals
                    else f"{field!r} must be formatted as key=value"
                )
    return found


def _check_path(value: str, key: str) -> str:
    if not value.startswith("/") or "\0" in value or "\n" in value:
        raise Invalid(f"{key}={value}: not an absolute path")
    return value


class Contexts:
    """``directory`` is the user's directory of settings (``$XDG_CONFIG_HOME/cais``)."""

    def __init__(self, directory: str) -> None:
        self._directory = os.path.join(directory, "contexts")
        self._current = os.path.join(directory, "context")

    @property
    def current(self) -> str:
        """The name that ``use`` has set."""
        try:
            return read_start(self._current, _NAME_LIMIT + 1).decode("ascii", "replace").strip() or DEFAULT
        except FileNotFoundError:
            return DEFAULT
        except OSError as error:
            raise from_os_error(error, f"read {self._current}")

    def use(self, name: str) -> None:
        """Raises NotFound."""
        self.get(name)
        if name == DEFAULT:
            self._unlink(self._current)
        else:
            self._write(lambda: write_atomically(self._current, name.encode() + b"\n"))

    def get(self, name: str) -> Context:
        """Raises NotFound, Invalid, Corrupt."""
        if name == DEFAULT:
            return Context(DEFAULT)
        path = self._path(name)
        try:
            data = read_start(path, _LIMIT_BYTES)
        except FileNotFoundError:
            raise NotFound(f'context "{name}": context not found', hint="'cais context ls' shows those that there are.")
        except OSError as error:
            raise from_os_error(error, f"read {path}")
        return _decode(data, name, path)

    def all(self) -> list[Context]:
        """The default first, then by name."""
        try:
            names = [name.removesuffix(".json") for name in os.listdir(self._directory) if name.endswith(".json")]
        except FileNotFoundError:
            names = []
        return [Context(DEFAULT), *(self.get(name) for name in sorted(names) if _is_name(name) and name != DEFAULT)]

    def create(self, context: Context) -> None:
        """Raises Conflict where there is one with its name, Invalid."""
        path = self._path(context.name)
        temporary = f"{path}.{random_name(6)}"

        def write() -> None:
            os.makedirs(self._directory, 0o700, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                try:
                    write_all(descriptor, _encode(context))
                finally:
                    os.close(descriptor)
                os.link(temporary, path)  # unlike a rename it does not replace one
            except FileExistsError:
                raise Conflict(f'context "{context.name}" already exists')
            finally:
                os.unlink(temporary)

        self._write(write)

    def update(self, context: Context) -> None:
        """Raises NotFound, Invalid."""
        if context.name == DEFAULT:
            raise Invalid(f'"{DEFAULT}" is a reserved context name')
        self.get(context.name)
        self._write(lambda: write_atomically(self._path(context.name), _encode(context)))

    def remove(self, name: str, force: bool = False) -> None:
        """Raises Invalid (the default), NotFound, Conflict (it is the current one, and not ``force``)."""
        if name == DEFAULT:
            raise Invalid(f'context "{DEFAULT}" cannot be removed')
        path = self._path(name)
        if not os.path.exists(path) and not force:
            raise NotFound(f'context "{name}" does not exist')
        if self.current == name:
            if not force:
                raise Conflict(f'context "{name}" is in use, set -f flag to force remove')
            self._unlink(self._current)
        self._unlink(path)

    def export(self, name: str, file: BinaryIO) -> None:
        """Docker's archive of a context: a tar with ``meta.json``."""
        import io
        import tarfile

        data = _encode(self.get(name))
        with tarfile.open(fileobj=file, mode="w|") as archive:
            entry = tarfile.TarInfo("meta.json")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))

    def import_(self, name: str, file: BinaryIO) -> None:
        """Raises Invalid, Unsupported (TLS material), Conflict."""
        import io
        import tarfile

        data = file.read(_LIMIT_BYTES + 1)
        if len(data) > _LIMIT_BYTES:
            raise Invalid("cannot import the context: the archive is too large")
        meta = b""
        try:
            with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
                for entry in archive:
                    if entry.name == "meta.json" and entry.isreg():
                        found = archive.extractfile(entry)
                        meta = found.read(_LIMIT_BYTES) if found is not None else b""
                    elif not entry.isdir():
                        raise Unsupported(f"cannot import the context: it has {entry.name!r}, and Cais uses no TLS")
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise Invalid(f"cannot import the context: {error}")
        if not meta:
            raise Invalid("cannot import the context: the archive has no meta.json")
        self.create(_decode(meta, name, "meta.json"))

    def path(self, name: str) -> str:
        """The file of a context, "" for the default one."""
        return "" if name == DEFAULT else self._path(name)

    def _path(self, name: str) -> str:
        if name == DEFAULT:
            raise Invalid(f'"{DEFAULT}" is a reserved context name')
        if not _is_name(name):
            raise Invalid(
                f'context name "{name}" is invalid, names are validated against regexp "^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$"'
            )
        return os.path.join(self._directory, f"{name}.json")

    def _write(self, write: Callable[[], None]) -> None:
        try:
            os.makedirs(os.path.dirname(self._directory), 0o700, exist_ok=True)
            write()
        except OSError as error:
            raise from_os_error(error, f"write in {os.path.dirname(self._directory)}")

    @staticmethod
    def _unlink(path: str) -> None:
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise from_os_error(error, f"remove {path}")


def _is_name(name: str) -> bool:
    return 2 <= len(name) <= _NAME_LIMIT and name[0] in _FIRST and _REST.issuperset(name)


def _encode(context: Context) -> bytes:
    return json.dumps(context.document(), ensure_ascii=False).encode("utf-8", "surrogateescape")


def _decode(data: bytes, name: str, path: str) -> Context:
    try:
        value = json.loads(data)
        endpoints: Mapping[str, Any] = value["Endpoints"]
        own, docker = endpoints.get("cais", {}), endpoints.get("docker", {})
        fields = [f"{key}={own[word]}" for key, word in (("root", "Root"), ("program", "Program")) if own.get(word)]
        host = docker.get("Host", "")
        description = str((value.get("Metadata") or {}).get("Description", ""))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Corrupt(f"the context {path} cannot be understood: {error}")
    endpoint = parse_endpoint([*([f"host={host}"] if host else []), *fields], lambda _: Context(DEFAULT))
    return Context(name, endpoint, description)
