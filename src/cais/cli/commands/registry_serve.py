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
        Flag("listen", "", "string", "Address to listen on, HOST:PORT or unix:PATH (default 127.0.0.1:5000)"),
        Flag("root", "", "string", "Directory of the registry", complete="directory"),
        Flag("set", "", "stringArray", "Give a setting of the file another value: NAME=VALUE"),
        Flag("tls-certificate", "", "string", "File of the certificate (default: no TLS)", complete="file"),
        Flag("tls-key", "", "string", "File of the certificate's key", complete="file"),
        Flag("workers", "", "string", "Number of processes (default: one for each processor, up to 4)"),
    ),
    examples=(
        "cais registry serve --root /srv/registry --anonymous read",
        "cais registry serve --listen 0.0.0.0:443 --tls-certificate registry.crt --tls-key registry.key",
        "cais registry serve --config registry.toml --listen 0.0.0.0:5000",
    ),
)


def run(call: Call) -> int:
    import os
    import sys

    from cais.cli.call import say
    from cais.cli.registry_records import registry_packages

    with registry_packages():
        from cais.registry import worker  # noqa: F401  # serve loads it late, and would not say what is missing
        from cais.registry.serve import serve
        from cais.registry.settings import load

    flags = {name: call[name] for name in ("anonymous", "listen", "root", "workers")}
    flags |= {name: call[name.replace(".", "-")] for name in ("database.url", "tls.certificate", "tls.key")}
    settings = load(os.environ, config=call["config"], flags=flags, pairs=call["set"])

    def tell(line: str) -> None:
        say(line)
        sys.stdout.flush()

    return serve(settings, tell)
