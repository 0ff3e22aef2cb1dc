"""The SSE dialects: one pure translator each."""
