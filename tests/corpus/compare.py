"""What two builders' images do not share."""

from __future__ import annotations

from typing import Any

# From this version on, the history of ARG has the value that the command line gave,
SHOWS_GIVEN_ARGUMENTS = 27
# and from this one on that of COPY, ADD and HEALTHCHECK has all their flags.
SHOWS_FLAGS = 23


def differences(expected: dict[str, Any], seen: dict[str, Any]) -> list[str]:
    """What is not as expected, a line each. The time of a file counts where the expectation names it."""
    lines = []
    for part in ("config", "files"):
        for name in sorted({*expected[part], *seen[part]}):
            wanted, there = expected[part].get(name, "as in the base"), seen[part].get(name, "as in the base")
            if (
                part == "files"
                and there
                and "time of the source" in there
                and "time of the source" not in (wanted or ())
            ):
                there = [word for word in there if word != "time of the source"]
            if wanted != there:
                lines.append(f"{part} {name}: expected {wanted}, is {there}")
    if expected["layers"] != seen["layers"]:
        lines.append(f"{expected['layers']} layers expected, are {seen['layers']}")
    if len(expected["history"]) != len(seen["history"]):
        lines.append(f"history: expected {expected['history']}, is {seen['history']}")
    for wanted, there in zip(expected["history"], seen["history"], strict=False):
        if wanted != there:
            lines.append(f"history: expected {wanted}, is {there}")
    return lines


def same_but_for_the_version(known: list[str], entry: list[str], version: int) -> bool:
    """Whether two entries of the history are the same for what a ``version`` of Docker writes."""
    keyword = known[0].partition(" ")[0]
    if keyword != entry[0].partition(" ")[0] or known[1:] != entry[1:]:
        return False
    if keyword == "ARG" and version < SHOWS_GIVEN_ARGUMENTS:
        return _names(known[0]) == _names(entry[0])
    return keyword in ("COPY", "ADD", "HEALTHCHECK") and version < SHOWS_FLAGS


def _names(arg: str) -> list[str]:
    """Of an ARG whose values have no "=" in them."""
    words = arg.split(" ")
    return [word.partition("=")[0] for word in words if "=" in word or word.isidentifier()]
