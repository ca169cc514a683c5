"""Where a command is to run: here, in another root directory, or on a host that ssh reaches.

The first that is given counts: ``--root``, ``--host`` or ``--context``; ``CAIS_HOST`` or ``CAIS_ROOT``;
``CAIS_CONTEXT``; what ``cais context use`` has set. Docker's own variables mean a daemon, and are not read.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cais.engine.contexts import Endpoint


def endpoint(values: Mapping[str, Any], environment: Mapping[str, str]) -> Endpoint:
    """Raises UsageError (flags that contradict each other), NotFound, Invalid."""
    from cais.cli.declare import UsageError
    from cais.engine.contexts import Endpoint, check_host

    given = [name for name in ("host", "context") if values[name]]
    if len(given) > 1 or (given == ["context"] and values["root"]):
        other = "host" if len(given) > 1 else "root"
        raise UsageError(f"conflicting options: cannot specify both --{other} and --context", 1, usage=False)
    host = values["host"] or ("" if given else environment.get("CAIS_HOST", ""))
    if host:
        if host.startswith("file://"):
            return Endpoint(root=host.removeprefix("file://"))
        return Endpoint(check_host(host), values["root"])
    name = current(values, environment)
    from cais.engine.contexts import Contexts
    from cais.settings import config_directory

    return Contexts(config_directory(environment)).get(name).endpoint


def current(values: Mapping[str, Any], environment: Mapping[str, str]) -> str:
    """The name of the context that counts."""
    from cais.engine.contexts import DEFAULT, Contexts
    from cais.settings import config_directory

    if values.get("context"):
        return str(values["context"])
    if values.get("host") or values.get("root") or overriding(environment):
        return DEFAULT
    return environment.get("CAIS_CONTEXT") or Contexts(config_directory(environment)).current


def overriding(environment: Mapping[str, str]) -> str:
    """The variable that overrides the current context, or ""."""
    return next((name for name in ("CAIS_HOST", "CAIS_ROOT") if environment.get(name)), "")
