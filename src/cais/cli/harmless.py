"""What others wrote, for a terminal: colours stay, and nothing that moves the cursor, renames the window or answers."""

from __future__ import annotations

import re

# ECMA-48: CSI sequences; strings (OSC, DCS, APC, PM, SOS) with their text; other escapes. C1 controls are 8-bit forms.
_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]|\x1b"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_RESET = "\x1b[0m"


def harmless(line: str) -> str:
    """``line`` without control characters but tabs and colours; colours end with it."""
    if line.isprintable():
        return line
    coloured = False

    def kept(match: re.Match[str]) -> str:
        nonlocal coloured
        if _COLOUR.fullmatch(match[0]) is None:
            return ""
        coloured = True
        return match[0]

    text = _SEQUENCES.sub(kept, line.rpartition("\r")[2])
    return text + _RESET if coloured else text
