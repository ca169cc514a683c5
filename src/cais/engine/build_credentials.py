"""``--secret`` and ``--ssh``: where the secrets and agents are that RUN may ask for. The rules are buildx's."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence

from cais.build.credentials import AgentSource, Credentials, SecretSource, check_size
from cais.errors import Invalid, NotFound

_DEFAULT = "default"
_AGENT_VARIABLE = "SSH_AUTH_SOCK"


def credentials(secrets: Sequence[str], agents: Sequence[str], environment: Mapping[str, str]) -> Credentials:
    """Raises Invalid, NotFound. Of the secrets nothing is read yet."""
    return Credentials(
        dict(_secret(text, environment) for text in secrets),
        _agents(agents, environment),
    )


def _secret(text: str, environment: Mapping[str, str]) -> tuple[str, SecretSource]:
    """``id=..[,src=..|env=..][,type=file|env]``. An ``id`` alone is a variable's name, else a file's."""
    given = {"id": "", "source": "", "env": "", "type": ""}
    for field in _fields(text):
        key, equals, value = field.partition("=")
        key = key.lower()
        if not equals:
            raise Invalid(f"invalid field '{field}' must be a key=value pair", hint="As in --secret id=token,src=FILE.")
        if key == "src":
            key = "source"
        if key not in given:
            raise Invalid(f"unexpected key '{key}' in '{field}'", hint="The keys are id, src, env and type.")
        if key == "type" and value not in ("file", "env"):
            raise Invalid(f'unsupported secret type "{value}"', hint="The types are file and env.")
        given[key] = value
    id, source, variable = given["id"], given["source"], given["env"]
    if not id:
        raise Invalid("secret missing ID", hint="As in --secret id=token,src=FILE.")
    if given["type"] == "env" and not variable:
        source, variable = "", source or id
    if not variable and not source:
        if id in environment:
            variable = id
        else:
            source = id
    if variable:
        return id, SecretSource(value=os.fsencode(environment.get(variable, "")))
    if not os.path.exists(source):
        raise NotFound(f"failed to stat {source}: stat {source}: no such file or directory")
    check_size(id, source)
    return id, SecretSource(os.path.abspath(source))


def _agents(texts: Sequence[str], environment: Mapping[str, str]) -> dict[str, AgentSource]:
    """``default``, ``id=SOCKET`` or ``id=KEY[,KEY]``."""
    found: dict[str, AgentSource] = {}
    for text in texts:
        id, _, rest = text.partition("=")
        id = id or _DEFAULT
        if id in found:
            raise Invalid(f"invalid duplicate ID {id}")
        paths = [path for path in rest.split(",") if path]
        if not paths:
            own = environment.get(_AGENT_VARIABLE, "")
            if not own:
                raise Invalid(
                    "invalid empty ssh agent socket: make sure SSH_AUTH_SOCK is set",
                    hint="Start an agent (eval $(ssh-agent); ssh-add), or name a key's file: --ssh default=FILE.",
                )
            paths = [own]
        found[id] = _agent(paths)
    return found


def _agent(paths: Sequence[str]) -> AgentSource:
    sockets: list[str] = []
    keys: list[str] = []
    for path in paths:
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise NotFound(f"stat {path}: {os.strerror(error.errno or 0).lower()}")
        (sockets if stat.S_ISSOCK(mode) else keys).append(os.path.abspath(path))
    if sockets and keys:
        raise Invalid("invalid combination of keys and sockets")
    if len(sockets) > 1:
        raise Invalid("only single socket allowed")
    return AgentSource(sockets[0]) if sockets else AgentSource(keys=tuple(keys))


def _fields(text: str) -> list[str]:
    """CSV: a field with a comma stands in double quotes."""
    import csv

    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise Invalid(f"invalid --secret {text!r}: {error}")
    return rows[0] if rows else []
