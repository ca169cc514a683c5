"""The settings of this process, as one value for the engine.

Each is taken from the first place that names it: a flag, the environment, the user's file
(``$XDG_CONFIG_HOME/cais/config.toml``), the system's file (``/etc/cais/config.toml``), the default.

    setting   flag     environment    default
    root      --root   CAIS_ROOT      /var/lib/cais as root, else $XDG_DATA_HOME/cais (~/.local/share/cais)
    driver             CAIS_DRIVER    chosen by probing: overlay where it works, else copies
    runtime            CAIS_RUNTIME   crun where it works, else runc

The bounds of the build cache, ``build_cache_size``, ``build_cache_reserved``, ``build_cache_free`` and
``build_cache_age``, have no flags (``cais.engine.build_bound``).
"""

from __future__ import annotations

import os

from cais.engine.settings import Settings
from cais.errors import Invalid, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SYSTEM_FILE = "/etc/cais/config.toml"
_NAMES = Settings._fields


def load(environment: Mapping[str, str], *, root: str | None = None) -> Settings:
    """The user's settings. ``root`` is what a flag gave, or None. Raises Invalid (a file that cannot be understood)."""
    values = {name: environment.get("CAIS_" + name.upper(), "") for name in _NAMES}
    if root:
        values["root"] = root
    for path in (_user_file(environment), SYSTEM_FILE):
        if not all(values.values()) and path and os.path.exists(path):
            for name, value in _read(path).items():
                values[name] = values[name] or value
    values["root"] = os.path.abspath(values["root"] or default_root(environment))
    return Settings(**values)


def default_root(environment: Mapping[str, str]) -> str:
    """``/var/lib/cais`` for root, else ``$XDG_DATA_HOME/cais``."""
    if os.geteuid() == 0:
        return "/var/lib/cais"
    data = environment.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):
        data = os.path.join(_home(environment), ".local", "share")
    return os.path.join(data, "cais")


def config_directory(environment: Mapping[str, str]) -> str:
    """Where the user's settings are: ``$XDG_CONFIG_HOME/cais``, by default ``~/.config/cais``."""
    config = environment.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config):
        config = os.path.join(_home(environment), ".config")
    return os.path.join(config, "cais")


def _user_file(environment: Mapping[str, str]) -> str:
    return os.path.join(config_directory(environment), "config.toml")


def _home(environment: Mapping[str, str]) -> str:
    home = environment.get("HOME", "")
    if home:
        return home
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        raise Invalid("there is no home directory to keep images in", hint="Choose a root directory with CAIS_ROOT.")


def _read(path: str) -> dict[str, str]:
    import tomllib

    try:
        with open(path, "rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise from_os_error(error, f"read the settings {path}")
    except ValueError as error:
        raise Invalid(f"{path}: {error}")
    for name, value in values.items():
        if name not in _NAMES:
            raise Invalid(f"{path}: unknown setting {name!r}", hint=f"The settings are {', '.join(_NAMES)}.")
        if not isinstance(value, str):
            raise Invalid(f"{path}: the setting {name!r} is not a text")
    return values
