"""Mints run ids: a tag of the core's incarnation, then random bits. Their form: tokenwire.cursor."""

from __future__ import annotations

from typing import Final

from tokenwire.cursor import RANDOM_LENGTH, TAG_LENGTH

ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz234567"
"""Base 32 in lower case. Source: https://www.rfc-editor.org/rfc/rfc4648#section-6"""

BITS_PER_CHARACTER: Final = 5
TAG_BITS: Final = TAG_LENGTH * BITS_PER_CHARACTER
RANDOM_BITS: Final = RANDOM_LENGTH * BITS_PER_CHARACTER


def make_tag(bits: int) -> str:
    """Return the tag of an incarnation, from 20 random bits."""
    return _base32(bits, TAG_LENGTH)


def make_run_id(tag: str, bits: int) -> str:
    """Return a run's id, from the incarnation's tag and 130 random bits."""
    return tag + _base32(bits, RANDOM_LENGTH)


def _base32(bits: int, length: int) -> str:
    """Return the lowest bits, five to a character, highest first."""
    return "".join(
        ALPHABET[bits >> BITS_PER_CHARACTER * place & 0b11111] for place in reversed(range(length))
    )
