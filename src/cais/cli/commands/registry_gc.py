"""``cais registry gc``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Collect garbage of a registry, also while it serves\n\nManifests that no tag, index or subject keeps (where "
    "gc.untagged_after says when), blobs to which no manifest refers, uploads that were given up, and bytes that "
    "nobody knows. What somebody relied on within the time of grace stays.",
    flags=(
        Flag("dry-run", "n", "", "Only say what would be removed"),
        Flag("grace", "", "string", "Another time of grace than that of the settings (12h, 7d)"),
        *settings_flags(),
    ),
    examples=(
        "cais registry gc --dry-run",
        "cais registry gc --grace 1h",
        "cais registry gc --set gc.untagged_after=30d",
    ),
)


def run(call: Call) -> int:
    import sys
    import time

    from cais.cli.call import say
    from cais.cli.registry_operator import settings_of
    from cais.cli.units import human_size
    from cais.errors import Invalid
    from cais.spec.duration import parse_duration

    settings = settings_of(call)
    from cais.catalog.catalog import stores
    from cais.catalog.gc import Collector

    if call["grace"]:
        seconds = parse_duration(call["grace"])
        if seconds is None:
            raise Invalid(f"--grace {call['grace']}: that is no duration", hint="Write it as 30m, 12h or 7d.")
        settings = settings._replace(policy=settings.policy._replace(grace_seconds=seconds))
    with stores(settings) as (database, blobs):
        found = Collector(database, blobs, settings.policy)
        if call["dry-run"]:
            report = found.foresee()
        else:
            said = False
            while (done := found.run()) is None:
                if not said:
                    sys.stderr.write("Another process collects: waiting for it.\n")
                    said = True
                time.sleep(0.2)
            report = done
    would = "Would remove" if call["dry-run"] else "Removed"
    say(
        f"{would} {report.manifests} manifests, {report.links} blobs of repositories ({report.blobs} nowhere else), "
        f"{report.uploads} uploads, {report.strays} strays"
    )
    say(f"{'Would free' if call['dry-run'] else 'Freed'}: {human_size(report.freed_bytes, 4)}")
    if call["dry-run"] and settings.policy.untagged_seconds == 0:
        say("Manifests without a tag are kept: gc.untagged_after is 0.")
    return 0
