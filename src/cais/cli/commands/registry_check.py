"""``cais registry check``."""

from __future__ import annotations

from cais.cli.declare import Command, Flag
from cais.cli.registry_records import settings_flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cais.cli.call import Call

COMMAND = Command(
    "[OPTIONS]",
    "Verify everything that a registry stores\n\nThat every blob is there and is what its digest says, and that "
    "everything is there to which manifests and tags refer. Exits with 1 where something is wrong and was not mended. "
    "The registry may serve meanwhile.",
    flags=(
        Flag("fast", "", "", "Look at the sizes of blobs, and not at every byte"),
        Flag("repair", "", "", "Mend what can be: what is damaged is forgotten, so that it can be pushed again"),
        *settings_flags(),
    ),
    examples=("cais registry check", "cais registry check --fast", "cais registry check --repair"),
)


def run(call: Call) -> int:
    from cais.cli.call import say
    from cais.cli.registry_operator import settings_of
    from cais.cli.units import human_size

    settings = settings_of(call)
    from cais.catalog.catalog import stores
    from cais.catalog.check import Check

    wrong = mended = wasted = 0
    with stores(settings) as (database, blobs):
        check = Check(database, blobs, fast=call["fast"], repair=call["repair"], accept_missing=settings.accept_missing)
        for fault in check.run():
            say(f"{fault.what}; {fault.mended}" if fault.mended else fault.what)
            mended += bool(fault.mended)
            wasted += fault.harmless and not fault.mended
            wrong += not fault.harmless and not fault.mended
    size = human_size(check.blob_bytes, 4)
    say(f"Checked {check.blobs} blobs ({size}) and {check.manifests} manifests: {_outcome(wrong, mended, wasted)}")
    return 1 if wrong else 0


def _outcome(wrong: int, mended: int, wasted: int) -> str:
    said = [f"{wrong} wrong"] if wrong else []
    said += [f"{mended} mended"] if mended else []
    said += [f"{wasted} harmless"] if wasted else []
    return ", ".join(said) or "all is well"
