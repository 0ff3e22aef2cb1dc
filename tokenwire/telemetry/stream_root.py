"""Marks the context in which the root span of a stream is started."""

from __future__ import annotations

from typing import Final

from opentelemetry.context import Context, create_key, get_value, set_value

_STREAM_ROOT: Final = create_key("tokenwire.stream_root")


def stream_root(context: Context) -> Context:
    """Return the context for starting the span that stands for a whole stream.

    Only for `start_span`: what is started below that span gets a context of its own.

    Args:
        context: Holds the span's parent, if it has one.
    """
    return set_value(_STREAM_ROOT, True, context)


def is_stream_root(context: Context | None) -> bool:
    """Return whether a span that is started in a context stands for a whole stream."""
    return context is not None and get_value(_STREAM_ROOT, context) is True
