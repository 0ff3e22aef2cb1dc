"""How answers ended that OpenAI's Agents SDK reads from Chat Completions.

The SDK makes a `Response` of each, and leaves the finish reason out: an answer that was filtered, cut off or
too long looks like a whole one. So its chunks are looked at on their way into the SDK, and the word is put on
the `Response`, which the SDK's events hold.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import AsyncIterator
from typing import Any, Final

log = logging.getLogger(__name__)

_FIELD: Final = "finish_reason"
_MARK: Final = "_tokenwire_original"


def watch_chat_completions() -> None:
    """Have the SDK keep the finish reasons of Chat Completions. A second time changes nothing."""
    try:
        handler: Any = importlib.import_module("agents.models.chatcmpl_stream_handler").ChatCmplStreamHandler
        original = handler.handle_stream
    except (ImportError, AttributeError):
        log.warning("This version of OpenAI's Agents SDK hides how answers of Chat Completions end.")
        return
    if hasattr(handler, _MARK):
        return

    def handle_stream(_: object, response: Any, stream: Any, *args: Any, **options: Any) -> Any:
        return original(response, _watched(response, stream), *args, **options)

    setattr(handler, _MARK, original)
    handler.handle_stream = classmethod(handle_stream)


def word_of(response: Any) -> str:
    """Return a provider's word for how a response ended; empty where there is none."""
    details = getattr(response, "incomplete_details", None)
    words = (
        getattr(details, "reason", None),
        getattr(response, _FIELD, None),
        getattr(response, "status", None),
    )
    return next((str(word) for word in words if word), "")


async def _watched(response: Any, stream: Any) -> AsyncIterator[Any]:
    """Yield an answer's chunks; keep its finish reason with the response that the SDK makes of them."""
    async for chunk in stream:
        for choice in chunk.choices or ():
            if choice.index == 0 and choice.finish_reason:
                setattr(response, _FIELD, choice.finish_reason)
        yield chunk
