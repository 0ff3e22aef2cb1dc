"""What the processes that the command line starts are given: none of the secrets that only others need."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, MutableMapping
from typing import Final

from tokenwire.variables import CORE, PREFIX, VARIABLES, Reader

PRINCIPAL_KEY: Final = "TOKENWIRE_PRINCIPAL_KEY"

BEARER_SETTINGS: Final = ("TOKENWIRE_AUTH", "TOKENWIRE_API_KEYS", "TOKENWIRE_JWT_")
"""What the names of the settings begin with by which bearers are checked."""

KEY_BYTES: Final = 32

_TRUE: Final = frozenset({"1", "on", "t", "true", "y", "yes"})
"""What the settings take for true."""


def environment_of(reader: Reader, inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what a process is handed on of an environment: all but the variables that only others read.

    Args:
        reader: The process, or several.
        inherited: The environment.
    """
    return {
        name: value
        for name, value in inherited.items()
        if (known := VARIABLES.get(name.upper())) is None or reader & known.readers
    }


def write_in_capitals(environment: MutableMapping[str, str]) -> None:
    """Rename our variables that are not in capitals.

    The settings of the processes do not look at the case. What the command line itself reads, and hands on
    beside it, knows capitals alone: `up` would check another port than its core takes, for example.

    Args:
        environment: The environment. What it has in capitals stands.
    """
    for name in tuple(environment):
        known = name.upper()
        if name != known and known.startswith(PREFIX) and known in VARIABLES:
            environment.setdefault(known, environment.pop(name))


def core_environment_of(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return what `up` hands on to its core.

    The core checks the same API keys and JWTs as the edge, so that `ask` may call either; but not where all
    users are one owner: its edge proves nothing then, and must be let in.

    Args:
        inherited: The environment.
    """
    known = environment_of(CORE, inherited)
    if not _is_shared(inherited):
        return known
    return {name: value for name, value in known.items() if not name.upper().startswith(BEARER_SETTINGS)}


def made_principal_key(inherited: Mapping[str, str]) -> dict[str, str]:
    """Return a new principal key as a variable, where the edge authenticates and no key is set.

    Empty where users are not told apart at the core: without authentication, or since the operator says so.

    Args:
        inherited: The environment.
    """
    is_open = inherited.get("TOKENWIRE_AUTH", "none").strip() == "none"
    if is_open or _is_shared(inherited) or inherited.get(PRINCIPAL_KEY):
        return {}
    return {PRINCIPAL_KEY: secrets.token_urlsafe(KEY_BYTES)}


def _is_shared(inherited: Mapping[str, str]) -> bool:
    """Return whether all users are one owner."""
    return inherited.get("TOKENWIRE_SHARED_OWNER", "").lower() in _TRUE
