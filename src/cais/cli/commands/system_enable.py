"""``cais system enable``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Have containers start with this host, by their restart policies.\n\nWrites one unit of systemd, which runs 'cais "
    "system start' at boot and 'cais system stop' before the host goes down: as root in /etc/systemd/system, else in "
    "the user's own directory.",
    flags=(Flag("print", "", "", "Print the unit, and write nothing"),),
    examples=("cais system enable", "cais system enable --print"),
)


def run(call: Call) -> int:
    from cais.cli.call import say, warn

    unit = call.engine.system.boot_unit(user_units())
    if call["print"]:
        say(unit.text().rstrip("\n"))
        return 0
    for line in unit.enable():
        warn(line)
    say(unit.path)
    return 0


def user_units() -> str:
    """The directory of this user's own units of systemd; "" for root."""
    import os

    if os.geteuid() == 0:
        return ""
    config = os.environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(config):
        config = os.path.join(os.path.expanduser("~"), ".config")
    return os.path.join(config, "systemd", "user")
