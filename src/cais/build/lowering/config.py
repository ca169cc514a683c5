"""The instructions that change the run config and nothing else: one function each, ``(state, instruction)``."""

from __future__ import annotations

from cais.build.dockerfile.errors import DockerfileError, did_you_mean
from cais.build.dockerfile.instructions import (
    EXEC,
    Cmd,
    Command,
    Entrypoint,
    Env,
    Expose,
    Healthcheck,
    Label,
    Maintainer,
    OnBuild,
    Shell,
    StopSignal,
    User,
    Volume,
)
from cais.build.lowering.gotext import plain_list, quoted, quoted_list, quoted_number
from cais.build.lowering.ports import BadPort, exposed_ports
from cais.build.lowering.state import StageState
from cais.spec.go_duration import format_duration

# Linux's names, as Docker takes them.
_SIGNALS = frozenset(
    ("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL",
     "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1",
     "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
     *(f"RTMIN+{number}" for number in range(1, 16)), *(f"RTMAX-{number}" for number in range(1, 15)))
)  # fmt: skip


def env(state: StageState, instruction: Env) -> None:
    # All values are made with the environment before the line.
    span = instruction.span
    pairs = [(state.expand(pair.key, span), state.expand(pair.value, span)) for pair in instruction.pairs]
    for name, value in pairs:
        if not name:
            raise DockerfileError("ENV names can not be blank", span)
        state.set_env(name, value)
    state.note("ENV " + " ".join(f"{name}={value}" for name, value in pairs))


def label(state: StageState, instruction: Label) -> None:
    span = instruction.span
    pairs = [(state.expand(pair.key, span), state.expand(pair.value, span)) for pair in instruction.pairs]
    state.run["Labels"] = {**state.run.get("Labels", {}), **dict(pairs)}
    state.note("LABEL " + " ".join(f"{name}={value}" for name, value in pairs))


def maintainer(state: StageState, instruction: Maintainer) -> None:
    state.author = instruction.name
    state.note(f"MAINTAINER {instruction.name}")


def user(state: StageState, instruction: User) -> None:
    state.run["User"] = state.expand(instruction.user, instruction.span)
    state.note(f"USER {state.run['User']}")


def cmd(state: StageState, instruction: Cmd) -> None:
    args = _command(state, instruction.command)
    state.run["Cmd"] = args
    state.command_given = True
    state.note(f"CMD {quoted_list(args)}")


def entrypoint(state: StageState, instruction: Entrypoint) -> None:
    args = _command(state, instruction.command)
    state.run["Entrypoint"] = args
    if not state.command_given:
        # The base's CMD was meant for the base's entrypoint.
        state.run.pop("Cmd", None)
    state.note(f"ENTRYPOINT {quoted_list(args)}")


def expose(state: StageState, instruction: Expose) -> None:
    ports: set[str] = set()
    for text in instruction.ports:
        for word in state.expansion(text, instruction.span).words:
            try:
                ports.update(exposed_ports(word))
            except BadPort as error:
                raise DockerfileError(str(error), instruction.span, hint="As in EXPOSE 80 53/udp 8000-8010.")
            if ":" in word or word != word.lower():
                from cais.build.checks.steps import expose_format

                expose_format(word, state.checks, instruction.span)
    state.run["ExposedPorts"] = {**state.run.get("ExposedPorts", {}), **{port: {} for port in sorted(ports)}}
    state.note("EXPOSE map[" + " ".join(f"{port}:{{}}" for port in sorted(ports)) + "]")


def volume(state: StageState, instruction: Volume) -> None:
    paths = [state.expand(path, instruction.span) for path in instruction.paths]
    if not all(paths):
        raise DockerfileError("VOLUME specified can not be an empty string", instruction.span)
    state.run["Volumes"] = {**state.run.get("Volumes", {}), **{path: {} for path in paths}}
    state.note(f"VOLUME {plain_list(paths)}")


def shell(state: StageState, instruction: Shell) -> None:
    state.run["Shell"] = list(instruction.args)
    state.note(f"SHELL {plain_list(instruction.args)}")


def stop_signal(state: StageState, instruction: StopSignal) -> None:
    signal = state.expand(instruction.signal, instruction.span)
    name = signal.upper().removeprefix("SIG")
    digits = signal.removeprefix("-") if signal.startswith("-") else signal.removeprefix("+")
    # Docker takes any number but 0.
    number = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 19 else 0
    if name not in _SIGNALS and not number:
        meant = did_you_mean("SIG" + name, [f"SIG{item}" for item in sorted(_SIGNALS)])
        raise DockerfileError(f"invalid signal: {signal}{meant}", instruction.span)
    state.run["StopSignal"] = signal
    state.note(f"STOPSIGNAL {signal}")


def healthcheck(state: StageState, instruction: Healthcheck) -> None:
    # "Interval" and the like are nanoseconds in Docker's config.
    check: dict[str, object] = {"Test": list(instruction.test)}
    times = {
        "Interval": instruction.interval_nanoseconds,
        "Timeout": instruction.timeout_nanoseconds,
        "StartPeriod": instruction.start_period_nanoseconds,
        "StartInterval": instruction.start_interval_nanoseconds,
    }
    check.update((name, value) for name, value in times.items() if value)
    if instruction.retries:
        check["Retries"] = instruction.retries
    state.run["Healthcheck"] = check
    shown = " ".join(quoted(format_duration(value)) for value in times.values())
    state.note(f"HEALTHCHECK &{{{quoted_list(instruction.test)} {shown} {quoted_number(instruction.retries)}}}")


def on_build(state: StageState, instruction: OnBuild) -> None:
    state.run["OnBuild"] = [*state.run.get("OnBuild", ()), instruction.trigger]


def _command(state: StageState, command: Command) -> list[str]:
    if command.form == EXEC:
        return list(command.args)
    return [*state.shell, *command.args]
