"""What the commands share that change who may do what in a registry: its settings, its records, and passwords."""

from __future__ import annotations

from contextlib import contextmanager

from cais.cli.declare import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cais.catalog.administration import Administration
    from cais.cli.call import Call

_LIMIT_BYTES = 64 << 10


def settings_flags() -> tuple[Flag, ...]:
    """Which registry is meant: the same as for ``registry serve``."""
    return (
        Flag("config", "", "string", "Settings file of the registry", complete="file"),
        Flag("root", "", "string", "Directory of the registry", complete="directory"),
        Flag("set", "", "stringArray", "Set any setting (NAME=VALUE)"),
    )


@contextmanager
def registry_packages() -> Iterator[None]:
    """Around imports of the registry. Raises Unavailable where a package that it needs is not installed."""
    from cais.errors import Unavailable

    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("cais"):
            raise
        raise Unavailable(
            f"the registry needs packages that are not installed ({error.name})",
            hint="Install them with: pip install 'cais[registry]'",
        ) from None


def records_of(call: Call, *, new: bool = False) -> Administration:
    """Of the registry that the flags and the environment name; ``new``: it need not be there yet.

    Raises Invalid, NotFound, Unavailable, ...
    """
    import os

    with registry_packages():
        from cais.catalog.administration import Administration
        from cais.catalog.catalog import require_made
        from cais.registry.settings import load, of_catalog

    settings = of_catalog(load(os.environ, config=call["config"], flags={"root": call["root"]}, pairs=call["set"]))
    if not new:
        require_made(settings)
    return Administration.open(settings)


def new_password(call: Call) -> str:
    """From standard input with ``--password-stdin``, else asked for twice on the terminal. Raises Invalid."""
    import sys

    from cais.errors import Invalid

    if call["password-stdin"]:
        data = sys.stdin.buffer.read(_LIMIT_BYTES) if sys.stdin else b""
        try:
            return data.decode().removesuffix("\n").removesuffix("\r")
        except UnicodeDecodeError:
            raise Invalid("the password on standard input is not UTF-8")
    if sys.stdin is None or not sys.stdin.isatty():
        raise Invalid("there is no terminal to ask for a password on", hint="Use --password-stdin.")
    from getpass import getpass

    try:
        first = getpass("Password: ")
        second = getpass("Again: ")
    except EOFError:
        raise Invalid("no password was given")
    if second != first:
        raise Invalid("these are two different passwords")
    return first


def moment(unix: float | None, absent: str) -> str:
    """RFC 3339, to the second."""
    from cais.spec.timestamp import format

    return absent if unix is None else format(int(unix))
