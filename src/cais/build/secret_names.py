"""Which names of variables are those of secrets: their values are shown nowhere, and checks warn of them."""

from __future__ import annotations

WORDS = frozenset(
    ("apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd", "secret", "token")
)


def looks_secret(name: str) -> bool:
    """By the words in it, as BuildKit's check SecretsUsedInArgOrEnv tells: ``NPM_TOKEN``, not ``PUBLIC_KEY``."""
    words = name.lower().replace("-", "_").split("_")
    return not WORDS.isdisjoint(words) and "public" not in words
