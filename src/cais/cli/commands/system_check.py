"""``cais system check``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Verify everything that is stored, and mend what can be.\n\nCompares every blob with its digest, every record with "
    "its files. Exits with 1 when something is wrong (and was not mended).",
    flags=(
        Flag("format", "", "string", "Format output: 'json'", complete="json"),
        Flag("repair", "", "", "Mend what can be mended"),
    ),
    examples=("cais system check", "cais system check --repair"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.errors import Invalid

    if call["format"] not in ("", "json"):
        raise Invalid(f"invalid format {call['format']!r}", hint="The format is json.")
    findings = call.engine.system.check(repair=call["repair"])
    if call["format"] == "json":
        import json

        for finding in findings:
            say(json.dumps(finding._asdict(), ensure_ascii=False))
    else:
        for finding in findings:
            say(f"{finding.subject}: {finding.problem}" + (f" ({finding.mended})" if finding.mended else ""))
        say(f"{len(findings)} problem{'' if len(findings) == 1 else 's'} found" if findings else "All is well")
        if findings and not call["repair"]:
            say("'cais system check --repair' mends what can be mended")
    return 1 if any(not finding.mended for finding in findings) else 0
