"""The SSE dialects: one pure translator each, chosen by route."""

from edge.sse.dialects.contract import Delta, DeltaType, Dialect
from edge.sse.dialects.native import NativeDialect

__all__ = ["Delta", "DeltaType", "Dialect", "NativeDialect"]
