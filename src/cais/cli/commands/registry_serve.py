"""``cais registry serve``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Serve a registry of images.\n\nFlags stand before the environment (CAIS_REGISTRY_*), that before the settings "
    "file (/etc/cais/registry.toml).",
    flags=(
        Flag("anonymous", "", "string", "What everybody may do: 'none', 'read' or 'write'", complete="none,read,write"),
        Flag("config", "", "string", "Settings file", complete="file"),
        Flag("database-url", "", "string", "URL of a PostgreSQL database (default: SQLite in the directory)"),
        Flag("listen", "", "string", "Address to listen on, HOST:PORT (default 127.0.0.1:5000)"),
        Flag("root", "", "string", "Directory of the registry", complete="directory"),
        Flag("set", "", "stringArray", "Give a setting of the file another value: NAME=VALUE"),
        Flag("workers", "", "string", "Number of processes (default: one for each processor, up to 4)"),
    ),
    examples=(
        "cais registry serve --root /srv/registry --anonymous read",
        "cais registry serve --config registry.toml --listen 0.0.0.0:5000",
    ),
)


def run(call: Call) -> int:
    import os
    import sys

    from cais.cli.call import say
    from cais.errors import Unavailable

    try:
        from cais.registry.serve import serve
        from cais.registry.settings import load
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("cais"):
            raise
        raise Unavailable(
            f"the registry needs packages that are not installed ({error.name})",
            hint="Install them with: pip install 'cais[registry]'",
        ) from None
    flags = {name: call[name] for name in ("anonymous", "listen", "root", "workers")}
    settings = load(
        os.environ, config=call["config"], flags={**flags, "database.url": call["database-url"]}, pairs=call["set"]
    )

    def tell(line: str) -> None:
        say(line)
        sys.stdout.flush()

    return serve(settings, tell)
