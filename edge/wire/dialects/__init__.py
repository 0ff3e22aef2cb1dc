"""The SSE dialects: one pure translator each, chosen by route."""

from edge.wire.dialects.contract import Dialect
from edge.wire.dialects.native import NativeDialect

__all__ = ["Dialect", "NativeDialect"]
