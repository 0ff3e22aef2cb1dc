"""The SSE dialects: one pure translator each, chosen by route."""

from edge.sse.dialects.contract import Dialect
from edge.sse.dialects.native import NativeDialect

__all__ = ["Dialect", "NativeDialect"]
