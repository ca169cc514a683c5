"""The keys that let go of a container and leave it running: ``ctrl-p,ctrl-q``, or what ``--detach-keys`` says."""

from __future__ import annotations

from cais.errors import Invalid

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` or ``a,b`` as the bytes that a terminal sends. Raises Invalid with Docker's words."""
    keys = bytearray()
    for name in text.split(",") if text else ():
        if len(name) == 1 and name.isascii():
            keys += name.encode()
            continue
        letter = name.removeprefix("ctrl-")
        if name == letter or len(letter) != 1:
            raise _unknown(text, name)
        if "a" <= letter <= "z":
            keys.append(ord(letter) - ord("a") + 1)
        elif letter in _CONTROL:
            keys.append(_CONTROL[letter])
        else:
            raise _unknown(text, name)
    return bytes(keys)


def _unknown(text: str, name: str) -> Invalid:
    return Invalid(f"invalid detach keys ({text}): Unknown character: '{name}'")


class DetachKeys:
    """Watches what is typed. No ``keys``: nothing detaches."""

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._seen = 0
        self.pressed = False

    def pass_on(self, data: bytes) -> bytes:
        """What of ``data`` the container gets. The start of the sequence is kept back until the next key."""
        if not self._keys:
            return data
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._seen]:
                self._seen += 1
                if self._seen == len(self._keys):
                    self.pressed = True
                    break
                continue
            passed += self._keys[: self._seen]
            self._seen = 1 if byte == self._keys[0] else 0
            if not self._seen:
                passed.append(byte)
        return bytes(passed)
