"""``cais volume create``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.values import label

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

# Of Swarm's cluster volumes.
_CLUSTER = (
    ("availability", "string"), ("group", "string"), ("limit-bytes", "bytes"), ("required-bytes", "bytes"),
    ("scope", "string"), ("secret", "map"), ("sharing", "string"), ("topology-preferred", "list"),
    ("topology-required", "list"), ("type", "string"),
)  # fmt: skip

COMMAND = Command(
    "[OPTIONS] [VOLUME]",
    "Create a volume",
    arguments=(0, 1),
    flags=(
        Flag("driver", "d", "string", "Specify volume driver name", "local", complete="local,"),
        Flag("label", "", "list", "Set metadata for a volume", check=label),
        Flag("name", "", "string", hidden=True),
        Flag("opt", "o", "map", "Set driver specific options: type, device, o (what to mount); size (a quota); "
             "uid, gid, mode"),
        Flag("uid", "", "string", "Owner of the volume's directory, a number"),
        Flag("gid", "", "string", "Group of the volume's directory, a number"),
        Flag("mode", "", "string", "Mode of the volume's directory, octal digits"),
        *(Flag(name, "", kind, hidden=True) for name, kind in _CLUSTER),
    ),
    examples=(
        "cais volume create data",
        "cais volume create --label team=web --uid 1000 --gid 1000 data",
        "cais volume create -o type=nfs -o device=:/export -o o=addr=192.0.2.1,rw shared",
        "cais volume create -o type=tmpfs -o device=tmpfs -o o=size=100m,mode=1777 scratch",
    ),
)  # fmt: skip


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.values import key_values
    from cais.errors import Invalid, Unsupported

    name = "".join(call.arguments)
    if call["name"]:
        if name:
            raise Invalid(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg"
            )
        name = call["name"]
    for flag, _ in _CLUSTER:
        if flag in call.said:
            raise Unsupported(
                f"This node is not a swarm manager: --{flag} is for the cluster volumes of a swarm",
                hint="Leave it out: volumes of Cais are those of this host.",
            )
    options = key_values(call["opt"])
    options.update({flag: call[flag] for flag in ("uid", "gid", "mode") if flag in call.said})
    volume = call.engine.volumes.create(name, driver=call["driver"], options=options, labels=key_values(call["label"]))
    say(volume.name)
    return 0
