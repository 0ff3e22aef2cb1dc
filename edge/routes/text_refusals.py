"""Refusals as plain text: for clients that show a response's body as the error's message."""

from __future__ import annotations

from typing import Final

from litestar.openapi.datastructures import ResponseSpec

from edge.errors import EdgeError
from edge.http.problem import RefusalBody

TEXT: Final = "text/plain"


def text_form(error: EdgeError, status: int) -> RefusalBody:
    """Return a refusal's words, fit for a user."""
    del status
    return RefusalBody(error.message.encode(), TEXT)


def text_refusal(description: str) -> ResponseSpec:
    """Return how such a refusal is documented."""
    return ResponseSpec(str, description=description, media_type=TEXT, generate_examples=False)


def in_text(refusals: dict[int, ResponseSpec]) -> dict[int, ResponseSpec]:
    """Return how refusals are documented that are told in text."""
    return {status: text_refusal(spec.description) for status, spec in refusals.items()}
