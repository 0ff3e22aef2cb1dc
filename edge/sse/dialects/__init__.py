"""The SSE dialects: one pure translator each, chosen by route."""

from edge.sse.dialects.ai_sdk import AiSdkDialect
from edge.sse.dialects.contract import Delta, DeltaType, Dialect, DialectTraits
from edge.sse.dialects.native import NativeDialect

__all__ = ["AiSdkDialect", "Delta", "DeltaType", "Dialect", "DialectTraits", "NativeDialect"]
