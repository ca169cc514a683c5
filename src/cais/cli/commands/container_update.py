"""``cais container update``, ``cais update``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Update configuration of one or more containers",
    aliases=("container update", "update"),
    arguments=(1, None),
    complete="container",
    flags=(
        Flag(
            "blkio-weight", "", "uint16", "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)"
        ),
        Flag("cpu-period", "", "int", "Limit CPU CFS (Completely Fair Scheduler) period"),
        Flag("cpu-quota", "", "int", "Limit CPU CFS (Completely Fair Scheduler) quota"),
        Flag("cpu-rt-period", "", "int", "Limit the CPU real-time period in microseconds"),
        Flag("cpu-rt-runtime", "", "int", "Limit the CPU real-time runtime in microseconds"),
        Flag("cpu-shares", "c", "int", "CPU shares (relative weight)"),
        Flag("cpus", "", "decimal", "Number of CPUs"),
        Flag("cpuset-cpus", "", "string", "CPUs in which to allow execution (0-3, 0,1)"),
        Flag("cpuset-mems", "", "string", "MEMs in which to allow execution (0-3, 0,1)"),
        Flag("kernel-memory", "", "bytes", hidden=True),
        Flag("memory", "m", "bytes", "Memory limit"),
        Flag("memory-reservation", "", "bytes", "Memory soft limit"),
        Flag("memory-swap", "", "bytes", "Swap limit equal to memory plus swap: -1 to enable unlimited swap"),
        Flag("pids-limit", "", "int", "Tune container pids limit (set -1 for unlimited)"),
        Flag(
            "restart",
            "",
            "string",
            "Restart policy to apply when a container exits",
            complete="no,always,unless-stopped,on-failure",
        ),
    ),
    examples=("cais update --memory 512m --memory-swap 1g web", "cais update --restart unless-stopped web db"),
)


def run(call: Call) -> int:
    from cais.cli.call import each, warn
    from cais.engine.container_update import UpdateOptions
    from cais.engine.containers import RunOptions

    if not call.said:
        raise UsageError("you must provide one or more flags when using this command", 1, usage=False)

    def size(flag: str) -> str:
        return "" if call[flag] is None else str(call[flag])

    limits = RunOptions(
        image="",
        memory=size("memory"),
        memory_swap=size("memory-swap"),
        memory_reservation=size("memory-reservation"),
        cpus="" if not call["cpus"] else f"{call['cpus'] / 10**9:.9f}",
        cpu_shares=call["cpu-shares"] or 0,
        cpuset_cpus=call["cpuset-cpus"],
        cpuset_mems=call["cpuset-mems"],
        cpu_period=call["cpu-period"] or 0,
        cpu_quota=call["cpu-quota"] or 0,
        cpu_rt_period=call["cpu-rt-period"] or 0,
        cpu_rt_runtime=call["cpu-rt-runtime"] or 0,
        blkio_weight=call["blkio-weight"] or 0,
    )
    wanted = UpdateOptions(
        limits,
        call["pids-limit"] if "pids-limit" in call.said else None,
        call["restart"] if "restart" in call.said else None,
    )
    warnings: list[str] = []

    def update(name: str) -> str:
        warnings.extend(call.engine.containers.update(name, wanted))
        return name

    code = each(call.arguments, update)
    for line in dict.fromkeys(warnings):
        warn(line)
    return code
