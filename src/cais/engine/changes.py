"""``--change`` of import and commit: Dockerfile instructions that change a run config and make no layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cais.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DEFAULT_SHELL = ("/bin/sh", "-c")
_KEYWORDS = (
    "CMD", "ENTRYPOINT", "ENV", "EXPOSE", "HEALTHCHECK", "LABEL", "ONBUILD", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR",
)  # fmt: skip


def changed(run: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """``run`` (an image's ``config`` object) after ``changes``, in their order. Raises Invalid.

    As in a Dockerfile, a command that was there is none of a new entrypoint's.
    """
    new = {key: _copied(value) for key, value in run.items() if key not in ("Entrypoint", "Cmd")}
    for change in changes:
        _apply(new, change)
    kept = ("Entrypoint",) if new.get("Entrypoint") else ("Entrypoint", "Cmd")
    return {**{key: _copied(value) for key, value in run.items() if key in new or key in kept}, **new}


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, list)) else value


def _apply(run: dict[str, Any], change: str) -> None:
    from cais.build.dockerfile import instructions as kinds
    from cais.build.dockerfile.errors import Span
    from cais.build.dockerfile.lexer import lex
    from cais.build.dockerfile.parser import parse_statement

    statements = lex(change).statements
    if len(statements) != 1:
        raise Invalid(f"{change[:200]!r} is not one Dockerfile instruction")
    keyword = statements[0].keyword.upper()
    if keyword not in _KEYWORDS:
        raise Invalid(f"{keyword} is not a valid change command", hint=f"There are: {', '.join(_KEYWORDS)}.")
    instruction = parse_statement(statements[0]._replace(span=Span(1, 1)), "\\")
    match instruction:
        case kinds.Cmd():
            run["Cmd"] = _command(run, instruction.command)
        case kinds.Entrypoint():
            run["Entrypoint"] = _command(run, instruction.command)
        case kinds.Env():
            _environment(run, [(_word(run, pair.key), _word(run, pair.value)) for pair in instruction.pairs])
        case kinds.Label():
            labels = run["Labels"] = dict(run.get("Labels") or {})
            labels.update((_word(run, pair.key), _word(run, pair.value)) for pair in instruction.pairs)
        case kinds.Expose():
            ports = run["ExposedPorts"] = dict(run.get("ExposedPorts") or {})
            ports.update({key: {} for port in instruction.ports for key in exposed_ports(_word(run, port))})
        case kinds.Volume():
            volumes = run["Volumes"] = dict(run.get("Volumes") or {})
            volumes.update({_word(run, path): {} for path in instruction.paths})
        case kinds.User():
            run["User"] = _word(run, instruction.user)
        case kinds.Workdir():
            import posixpath

            path = posixpath.join("/", run.get("WorkingDir") or "/", _word(run, instruction.path))
            run["WorkingDir"] = "/" + posixpath.normpath(path).lstrip("/")
        case kinds.StopSignal():
            run["StopSignal"] = _word(run, instruction.signal)
        case kinds.OnBuild():
            run["OnBuild"] = [*(run.get("OnBuild") or ()), instruction.trigger]
        case kinds.Healthcheck():
            run["Healthcheck"] = _healthcheck(instruction)


def _command(run: Mapping[str, Any], command: Any) -> list[str]:
    return [*command.args] if command.form == "exec" else [*(run.get("Shell") or _DEFAULT_SHELL), *command.args]


def _word(run: Mapping[str, Any], text: str) -> str:
    from cais.build.dockerfile.expand import ExpansionError, expand

    variables = dict(item.partition("=")[::2] for item in run.get("Env") or ())
    try:
        return expand(text, variables).text
    except ExpansionError as error:
        raise Invalid(str(error))


def _environment(run: dict[str, Any], pairs: Sequence[tuple[str, str]]) -> None:
    """Each name once, at the place where it first stood."""
    names = dict(item.partition("=")[::2] for item in run.get("Env") or ())
    names.update(pairs)
    run["Env"] = [f"{name}={value}" for name, value in names.items()]


def exposed_ports(text: str) -> list[str]:
    """``80``, ``80/udp`` or ``8000-8002/tcp`` as the keys of ExposedPorts. Raises Invalid."""
    numbers, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    first, dash, last = numbers.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()) or protocol not in ("tcp", "udp", "sctp"):
        raise Invalid(f"invalid containerPort: {text}")
    low, high = int(first), int(last or first)
    if not 0 < low <= high < 65536:
        raise Invalid(f"invalid containerPort: {text}: ports go from 1 to 65535")
    return [f"{number}/{protocol}" for number in range(low, high + 1)]


def _healthcheck(instruction: Any) -> dict[str, Any]:
    times = {
        "Interval": instruction.interval_nanoseconds,
        "Timeout": instruction.timeout_nanoseconds,
        "StartPeriod": instruction.start_period_nanoseconds,
        "StartInterval": instruction.start_interval_nanoseconds,
        "Retries": instruction.retries,
    }
    return {"Test": list(instruction.test), **{key: number for key, number in times.items() if number}}
