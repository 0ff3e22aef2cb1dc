"""API keys, kept as hashes.

Keys are long random texts, so one SHA-256 is enough: there is nothing to guess, and looking a hash up
tells nothing by its timing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Final

from tokenwire.authentication.contract import CredentialsError, bearer_of
from tokenwire.principal import API_KEY_NAME
from tokenwire.reasons import Reason
from tokenwire.settings import WrongSettingError, read_text

KEYS: Final = "TOKENWIRE_API_KEYS"
KEYS_FILE: Final = "TOKENWIRE_API_KEYS_FILE"

_LINE: Final = re.compile(rf"({API_KEY_NAME.pattern})[:\s]+sha256:([0-9a-f]{{64}})")


class ApiKeys:
    """Principals by the hashes of their keys.

    Args:
        principals: The principal of each hash, in lower-case hex.
    """

    def __init__(self, principals: dict[str, str]) -> None:
        self._principals = principals

    def __repr__(self) -> str:
        """Return how many keys there are: not even their hashes."""
        return f"ApiKeys({len(self._principals)})"

    def takes(self, bearer: str) -> bool:
        """Return True: a key may have any form."""
        del bearer
        return True

    async def principal_of(self, authorization: str) -> str:
        """Return the principal whose key the header carries."""
        principal = self._principals.get(hash_of(bearer_of(authorization)))
        if principal is None:
            raise CredentialsError("The API key is not valid.", Reason.KEY_INVALID)
        return principal

    def running(self) -> AbstractAsyncContextManager[None]:
        """Return a context that does nothing."""
        return nullcontext()


def hash_of(key: str) -> str:
    """Return the hash under which a key is kept.

    Args:
        key: As a client sends it.
    """
    return hashlib.sha256(key.encode()).hexdigest()


def parse_keys(lines: Iterable[str]) -> dict[str, str]:
    """Return the principal of each hash.

    Args:
        lines: `NAME sha256:HEX` each (`tokenwire key` makes them); empty ones and those that begin
            with # are passed over.

    Raises:
        ValueError: A line is not of that form, or two principals share a key. The line's number is
            told, not the line.
    """
    principals: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"line {number} is not `NAME sha256:HEX` (see `tokenwire key --help`)")
        if principals.setdefault(match[2], match[1]) != match[1]:
            raise ValueError(f"line {number} gives the same key to a second principal")
    return principals


def load_keys(inline: str, file: Path | None) -> ApiKeys:
    """Return the keys that the settings name.

    Args:
        inline: Lines, or entries separated by commas; may be empty.
        file: A file of lines; None for none.

    Raises:
        WrongSettingError: There is none, or one can't be read.
    """
    principals = _parse(KEYS, inline.replace(",", "\n"))
    if file is not None:
        principals |= _parse(f"{KEYS_FILE}={file}", read_text(KEYS_FILE, file))
    if not principals:
        raise WrongSettingError(f"there are no API keys in {KEYS} or {KEYS_FILE} (`tokenwire key` makes one)")
    return ApiKeys(principals)


def _parse(place: str, text: str) -> dict[str, str]:
    try:
        return parse_keys(text.splitlines())
    except ValueError as error:
        raise WrongSettingError(f"{place}: {error}") from error
