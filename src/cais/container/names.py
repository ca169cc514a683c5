"""Names of containers: Docker's grammar, and random ones of an adjective and a person."""

from __future__ import annotations

import os

from cais.errors import Invalid

_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")

_ADJECTIVES = (
    "able", "amber", "ample", "apt", "bold", "brave", "bright", "brisk", "calm", "candid", "clear", "clever", "cosy",
    "crisp", "deft", "eager", "early", "exact", "fair", "fine", "firm", "fluent", "fond", "frank", "free", "fresh",
    "gentle", "glad", "golden", "grand", "happy", "hardy", "humble", "jolly", "keen", "kind", "lively", "loyal",
    "lucid", "lucky", "mellow", "merry", "mild", "modest", "neat", "nimble", "noble", "open", "patient", "plain",
    "polite", "proud", "quick", "quiet", "rapid", "ready", "robust", "serene", "sharp", "silent", "simple", "sincere",
    "smart", "solid", "steady", "sturdy", "subtle", "sunny", "swift", "tender", "tidy", "upbeat", "vivid", "warm",
    "wise", "witty", "young", "zesty",
)  # fmt: skip
_SURNAMES = (
    "abel", "agnesi", "ampere", "archimedes", "babbage", "banach", "bell", "bernoulli", "bohr", "boole", "borg",
    "bose", "cantor", "cauchy", "cerf", "chandra", "clarke", "cori", "curie", "darwin", "dijkstra", "dirac", "easley",
    "edison", "einstein", "elion", "erdos", "euclid", "euler", "fermat", "fermi", "feynman", "franklin", "galileo",
    "galois", "gauss", "germain", "goldwasser", "goodall", "hamilton", "hawking", "hermite", "hodgkin", "hopper",
    "hypatia", "jackson", "johnson", "kepler", "khorana", "knuth", "kovalevskaya", "lamarr", "laplace", "leavitt",
    "liskov", "lovelace", "maxwell", "mccarthy", "mcclintock", "meitner", "mendel", "mirzakhani", "neumann", "newton",
    "noether", "pascal", "pasteur", "payne", "perlman", "poincare", "ramanujan", "ride", "ritchie", "rubin", "shannon",
    "stonebraker", "tesla", "thompson", "torvalds", "turing", "wiles", "wilson", "wozniak", "wu", "yonath",
)  # fmt: skip


def check_name(name: str) -> str:
    """The name without the leading slash that Docker allows. Raises Invalid with Docker's words."""
    plain = name.removeprefix("/")
    if len(plain) < 2 or plain[0] not in _FIRST or not _REST.issuperset(plain):
        raise Invalid(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
            hint="A name has at least two characters." if len(plain) == 1 else "",
            exit_code=125,
        )
    return plain


def random_name(attempt: int = 0) -> str:
    """Somebody's: ``quiet_noether``; later attempts get a number behind it."""
    first, second, third = os.urandom(3)
    name = f"{_ADJECTIVES[first % len(_ADJECTIVES)]}_{_SURNAMES[second % len(_SURNAMES)]}"
    return name if attempt < 2 else f"{name}{third % 10 if attempt < 5 else os.urandom(4).hex()}"
