"""API keys: made here, kept by edges and cores as hashes."""

from __future__ import annotations

import secrets
from typing import Final

from tokenwire.authentication.api_keys import hash_of
from tokenwire.principal import API_KEY_NAME

PREFIX: Final = "tw_"
"""So that a key that has leaked into a text can be found."""

KEY_BYTES: Final = 32


def make_key(name: str) -> tuple[str, str]:
    """Return a new key, and the entry by which edges and cores know its owner.

    Args:
        name: The owner: the principal of its requests.

    Raises:
        ValueError: The name can't be a principal's.
    """
    if API_KEY_NAME.fullmatch(name) is None:
        raise ValueError("A name has 1 to 64 of letters, digits, '.', '_', '@' and '-'.")
    key = PREFIX + secrets.token_urlsafe(KEY_BYTES)
    return key, f"{name} sha256:{hash_of(key)}"
