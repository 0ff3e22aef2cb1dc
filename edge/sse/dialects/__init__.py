"""The SSE dialects: one pure translator each, chosen by route."""

from edge.sse.dialects.ag_ui import AgUiDialect
from edge.sse.dialects.ai_sdk import AiSdkDialect
from edge.sse.dialects.contract import Delta, Dialect, DialectTraits
from edge.sse.dialects.native import NativeDialect
from edge.sse.dialects.openai import OpenAiDialect
from tokenwire.events import DeltaType

__all__ = [
    "AgUiDialect",
    "AiSdkDialect",
    "Delta",
    "DeltaType",
    "Dialect",
    "DialectTraits",
    "NativeDialect",
    "OpenAiDialect",
]
