"""Which cases a peer has agreed with, as they stand: it is asked again where one has changed, and a few of the rest.

``verified.json`` holds for each peer the digests of the cases that it built to what is expected of them.
``CAIS_LONG_TESTS=1`` asks about all of them; ``CAIS_RECORD=verified`` writes down who agreed (without ``-n``).
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from corpus.case import Case

_FILE = Path(__file__).parent / "verified.json"
_RECORDS = os.environ.get("CAIS_RECORD") == "verified"
# One case of so many is built in each run: that the comparison itself still works is then seen, too.
_SAMPLE = 16
_KNOWN: dict[str, dict[str, str]] = json.loads(_FILE.read_text())


def is_due(peer: str, case: Case) -> bool:
    digest = _digest(case)
    return bool(
        _RECORDS
        or os.environ.get("CAIS_LONG_TESTS")
        or _KNOWN.get(peer, {}).get(case.name) != digest
        or int(digest, 16) % _SAMPLE == 0
    )


def skip_unless_due(peer: str, case: Case) -> None:
    if not is_due(peer, case):
        pytest.skip(f"{peer} has agreed with this case as it is (verified.json)")


def agreed(peer: str, case: Case) -> None:
    """Notes it, where that was asked for."""
    if _RECORDS:
        _KNOWN.setdefault(peer, {})[case.name] = _digest(case)
        ordered = {name: dict(sorted(_KNOWN[name].items())) for name in sorted(_KNOWN)}
        _FILE.write_text(json.dumps(ordered, indent=1) + "\n")


def _digest(case: Case) -> str:
    text = case.path.read_bytes() + (b"" if case.fails else case.expectation.read_bytes())
    return hashlib.sha256(text).hexdigest()[:16]
