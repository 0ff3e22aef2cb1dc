"""What the processes that the command line starts are given: none of the secrets that only others need."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Final

from tokenwire.variables import VARIABLES, Reader

TICKET_KEY: Final = "TOKENWIRE_TICKET_KEY"
PRINCIPAL_KEY: Final = "TOKENWIRE_PRINCIPAL_KEY"

KEY_BYTES: Final = 32

_TRUE: Final = frozenset({"1", "on", "t", "true", "y", "yes"})
"""What the settings take for true."""


def environment_of(reader: Reader, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what a process is handed on of an environment: all but the variables that only others read.

    Args:
        reader: The process.
        inherited: The environment.
    """
    return {
        name: value
        for name, value in inherited.items()
        if (known := VARIABLES.get(name.upper())) is None or reader in known.readers
    }


def made_principal_key(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return a new principal key as a variable, where the edge authenticates and no key is set.

    Empty where users are not told apart at the core: without authentication, or since the operator says so.

    Args:
        inherited: The environment.
    """
    is_open = inherited.get("TOKENWIRE_AUTH", "none").strip() == "none"
    is_shared = inherited.get("TOKENWIRE_SHARED_OWNER", "").lower() in _TRUE
    if is_open or is_shared or inherited.get(PRINCIPAL_KEY):
        return {}
    return {PRINCIPAL_KEY: secrets.token_urlsafe(KEY_BYTES)}


def made_ticket_key(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return a new ticket key as a variable, where neither it nor what it is derived from is set.

    Args:
        inherited: The environment of an edge that has others beside it, which must take its tickets.
    """
    if inherited.get(TICKET_KEY) or inherited.get(PRINCIPAL_KEY):
        return {}
    return {TICKET_KEY: secrets.token_urlsafe(KEY_BYTES)}
