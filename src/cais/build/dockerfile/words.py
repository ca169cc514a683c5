"""Flags, words with quotes, and JSON arrays: how the rest of an instruction's line is taken apart."""

from __future__ import annotations

import json

# What Go calls a space: not quite what Python's str.strip() takes away (\x1c to \x1f are none).
SPACES = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
_SPACE_SET = frozenset(SPACES)
# What separates the words of EXPOSE, FROM, COPY.
_BLANKS = "\t\v\f\r "
_TO_BLANK = str.maketrans(dict.fromkeys(_BLANKS, " "))


class NotStrings(Exception):
    """A JSON array with something else than strings in it."""


def split_blank(text: str) -> list[str]:
    """The words between blanks; quotes mean nothing here."""
    return [word for word in text.translate(_TO_BLANK).split(" ") if word]


def split_first(text: str) -> tuple[str, str]:
    """The first word, and the rest without the blanks before it."""
    for index, char in enumerate(text):
        if char in _BLANKS:
            return text[:index], text[index:].lstrip(_BLANKS)
    return text, ""


def split_flags(text: str) -> tuple[tuple[str, ...], str]:
    """The words that begin with ``--`` at the start of ``text`` (quotes and escapes taken away), and the rest.

    A lone ``--`` ends them.
    """
    if not text.startswith("--"):
        return (), text
    flags: list[str] = []
    word: list[str] = []
    quote = ""
    quoted = False
    position, length = 0, len(text)
    inside = False
    while position < length:
        char = text[position]
        if not inside:
            if char in _SPACE_SET:
                position += 1
                continue
            if not text.startswith("--", position):
                return tuple(flags), text[position:]
            inside = True
        if not quote and char in _SPACE_SET:
            inside = False
            if word == ["-", "-"]:
                return tuple(flags), text[position:].strip(SPACES)
            flags.append("".join(word))
            word, quoted = [], False
        elif not quote and char in "'\"":
            quote, quoted = char, True
        elif quote and char == quote:
            quote = ""
        elif char == "\\":
            position += 1
            if position < length:
                word.append(text[position])
        else:
            word.append(char)
        position += 1
    if inside and word != ["-", "-"] and (word or quoted):
        flags.append("".join(word))
    return tuple(flags), ""


def split_quoted(text: str, escape: str) -> list[str]:
    """The words of ENV, LABEL and ARG: blanks in quotes or behind ``escape`` do not end a word. Quotes are kept."""
    if '"' not in text and "'" not in text and escape not in text:
        return split_blank(text) if text.isascii() else text.split()
    words: list[str] = []
    position, length = 0, len(text)
    while position < length:
        if text[position] in _SPACE_SET:
            position += 1
            continue
        start, quote = position, ""
        while position < length:
            char = text[position]
            if quote:
                if char == quote:
                    quote = ""
                elif char == escape and quote != "'":
                    position += 1
            elif char in _SPACE_SET:
                break
            elif char in "'\"":
                quote = char
            elif char == escape:
                position += 1
            position += 1
        word = text[start:position]
        if position > length:
            word = word[:-1]  # an escape at the very end escapes nothing
        if word:
            words.append(word)
    return words


def json_array(text: str) -> tuple[str, ...] | None:
    """``text`` as a JSON array of strings; None when it is not JSON, which then is no error but the shell form.

    Raises NotStrings for an array of anything else.
    """
    if not text.startswith("["):
        return None
    try:
        value = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list):
        return None
    for item in value:
        if not isinstance(item, str):
            raise NotStrings
    # Half of a surrogate pair is no character: Go's decoder makes it U+FFFD.
    return tuple(item if item.isascii() else _whole(item) for item in value)


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are Python's, not JSON's


def _whole(text: str) -> str:
    # \udc80..\udcff are bytes of the file that are not UTF-8: they are kept.
    return "".join("\ufffd" if "\ud800" <= char < "\udc80" or "\udcff" < char <= "\udfff" else char for char in text)
