"""The systemd unit that starts containers with the host: one file and one link, made and removed.

As root it is the system's (``/etc/systemd/system``), else the user's own (``~/.config/systemd/user``). systemd.unit(5).
"""

from __future__ import annotations

import os

from cais.engine.stores import Stores
from cais.errors import Conflict, Unsupported, from_os_error

NAME = "cais.service"
SYSTEM_DIRECTORY = "/etc/systemd/system"
# Exists where systemd has started this host: sd_booted(3).
_BOOTED = "/run/systemd/system"
_LINGER = "/var/lib/systemd/linger"
_WITHOUT = "Have what starts programs with this host run 'cais system start' (a line '@reboot' in crontab does it)."


class BootUnit:
    """``directory`` is where units are; ``is_user``: it is a user's own."""

    def __init__(self, stores: Stores, directory: str, *, is_user: bool) -> None:
        self._stores = stores
        self._is_user = is_user
        self._target = "default.target" if is_user else "multi-user.target"
        self.path = os.path.join(directory, NAME)
        self._link = os.path.join(directory, f"{self._target}.wants", NAME)

    def text(self) -> str:
        """The unit: it carries no secret, and names the root directory."""
        import sys

        package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        command = f"{_quoted(sys.executable)} -P -m cais --root {_quoted(self._stores.root)} system".replace("$", "$$")
        network = "" if self._is_user else "After=network-online.target\nWants=network-online.target\n"
        return (
            "[Unit]\n"
            "Description=Containers of cais that run from boot\n"
            f"{network}"
            f"RequiresMountsFor={_quoted(self._stores.root)}\n"
            "\n"
            "[Service]\n"
            "Type=oneshot\n"
            "RemainAfterExit=yes\n"
            f"Environment={_quoted(f'PYTHONPATH={package}')}\n"
            f"ExecStart={command} start\n"
            f"ExecStop={command} stop\n"
            "TimeoutStopSec=120\n"
            "\n"
            "[Install]\n"
            f"WantedBy={self._target}\n"
        )

    def enable(self) -> list[str]:
        """Writes it; lines that the user should read. Raises Unsupported without systemd, Conflict, Denied."""
        if not os.path.isdir(_BOOTED):
            raise Unsupported("systemd does not run this host: nothing was written", hint=_WITHOUT)
        text = self.text()
        known = self._read()
        if known and f" --root {_quoted(self._stores.root)} " not in known:
            raise Conflict(
                f"{self.path} starts the containers of another root directory",
                hint="Disable that first: cais --root DIRECTORY system disable. Or edit the file.",
            )
        try:
            os.makedirs(os.path.dirname(self._link), 0o755, exist_ok=True)
            with open(f"{self.path}.new", "w", encoding="utf-8", errors="surrogateescape") as file:
                file.write(text)
            os.replace(f"{self.path}.new", self.path)
            if not os.path.lexists(self._link):
                os.symlink(self.path, self._link)
        except OSError as error:
            raise from_os_error(error, f"write {self.path}")
        self._reload()
        return self._advice()

    def disable(self) -> bool:
        """Whether there was one. Raises Denied."""
        found = False
        for path in (self._link, self.path):
            try:
                os.unlink(path)
                found = True
            except FileNotFoundError:
                continue
            except OSError as error:
                raise from_os_error(error, f"remove {path}")
        if found:
            self._reload()
        return found

    def _read(self) -> str:
        try:
            with open(self.path, encoding="utf-8", errors="surrogateescape") as file:
                return file.read(1 << 16)
        except OSError:
            return ""

    def _reload(self) -> None:
        """A systemd that cannot be told reads the files at the next boot, which is when they are needed."""
        from cais.host.processes import wait
        from cais.runtime.find import find_program

        program = find_program("systemctl")
        if not program or not os.path.isdir(_BOOTED):
            return
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        if self._is_user:
            environment["XDG_RUNTIME_DIR"] = f"/run/user/{os.geteuid()}"
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        try:
            arguments = [program, *(("--user",) if self._is_user else ()), "daemon-reload"]
            actions = [(os.POSIX_SPAWN_DUP2, null, place) for place in (0, 1, 2)]
            wait(os.posix_spawn(program, arguments, environment, file_actions=actions))
        except OSError:
            pass
        finally:
            os.close(null)

    def _advice(self) -> list[str]:
        if not self._is_user:
            return []
        import pwd

        name = pwd.getpwuid(os.geteuid()).pw_name
        if os.path.exists(os.path.join(_LINGER, name)):
            return []
        return [f"They start when {name} logs in. To have them start with the host: loginctl enable-linger {name}"]


def _quoted(text: str) -> str:
    """One word of a unit's line: systemd.syntax(7) and its specifiers."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if escaped != text or any(character in text for character in " \t'") else text
