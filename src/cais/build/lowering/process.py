"""RUN."""

from __future__ import annotations

from collections.abc import Mapping

from cais.build.dockerfile.errors import DockerfileError, NotAllowed, Span
from cais.build.dockerfile.instructions import SHELL, Run
from cais.build.dockerfile.lexer import heredoc_of
from cais.build.graph import Exec
from cais.build.lowering.state import StageState
from cais.errors import CaisError
from cais.spec.named import NamedTuple

HOST_GATEWAY = "host-gateway"
SCRIPTS_DIRECTORY = "/dev/pipes"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.build.lowering.mounts import Mounts


class RunSettings(NamedTuple):
    """What the build says to every RUN. ``hosts`` are (name, address); ``allowed`` are entitlements (``--allow``).
    ``hostname`` is what the argument BUILDKIT_SANDBOX_HOSTNAME says."""

    network: str = "default"
    hosts: tuple[tuple[str, str], ...] = ()
    allowed: tuple[str, ...] = ()
    hostname: str = ""

    @property
    def names_host(self) -> bool:
        """Whether steps know the host by a name, wherever it is seen from there."""
        return any(address == HOST_GATEWAY for _, address in self.hosts)


DEFAULTS = RunSettings()


def run(
    state: StageState, instruction: Run, settings: RunSettings, proxies: Mapping[str, str], mounts: Mounts | None = None
) -> None:
    """Raises DockerfileError, NotAllowed."""
    span = instruction.span
    args, scripts, addition = _arguments(instruction)
    if not args:
        raise DockerfileError("RUN: arguments are required", span)
    if instruction.command.form == SHELL:
        args = (*state.shell, " ".join(args))
    env = {**state.env, **dict(mounts.environment if mounts else ())}
    hidden = tuple((name, value) for name, value in proxies.items() if name not in env)
    network = settings.network
    if instruction.network and instruction.network != "default":
        network = instruction.network
        _require("network.host", network == "host" and settings.network != "host", settings, span)
    security = "insecure" if instruction.security == "insecure" else ""
    _require("security.insecure", bool(security), settings, span)
    _check_devices(instruction)
    origin = state.origin(instruction, addition)
    op = Exec(
        args,
        tuple(env.items()),
        state.workdir,
        state.user,
        network,
        hidden,
        scripts,
        security=security,
        hosts=settings.hosts,
        devices=instruction.devices,
        mounts=mounts.mounts if mounts else (),
        platform=state.foreign_platform,
        hostname=settings.hostname,
    )
    state.add(op, mounts.inputs if mounts else (), origin, f"RUN {_history(state, args)} # buildkit")


def _require(entitlement: str, used: bool, settings: RunSettings, span: Span) -> None:
    if used and entitlement not in settings.allowed:
        raise NotAllowed(f"{entitlement} is not allowed", span, hint=f"Where it is meant to be: --allow {entitlement}.")


def _check_devices(instruction: Run) -> None:
    if instruction.devices:
        from cais.runtime.cdi import parse

        for text in instruction.devices:
            try:
                parse(text)
            except CaisError as error:
                raise DockerfileError(error.message, instruction.span, hint=error.hint)


def _arguments(instruction: Run) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...], str]:
    """What is run (for the shell, or as it is), scripts to lay beside it, and what progress adds to its text."""
    args = instruction.command.args
    if not instruction.heredocs:
        return args, (), ""
    first = instruction.heredocs[0]
    command = args[0]
    if len(instruction.heredocs) > 1 or heredoc_of(command) is None:
        # The shell's own heredocs: it gets them as they are written.
        return ("".join([command, *(f"\n{doc.content}{doc.name}" for doc in instruction.heredocs)]),), (), ""
    lines = first.content.strip().replace("\r\n", "\n").split("\n")
    addition = f" ({lines[0]}{'...' if len(lines) > 1 else ''})"
    body = first.body
    if body.startswith("#!"):
        # A path for a name: it must not lead elsewhere.
        name = first.name.replace("/", "_").lstrip(".") or "script"
        return (f"{SCRIPTS_DIRECTORY}/{name}",), ((name, body),), addition
    return (body,), (), addition


def _history(state: StageState, args: tuple[str, ...]) -> str:
    command = " ".join(args)
    if not state.declared:
        return command
    values = [f"{name}={state.env.get(name, state.args[name] or '')}" for name in state.declared]
    return f"|{len(values)} {' '.join(values)} {command}"
