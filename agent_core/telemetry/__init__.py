"""Spans of the core."""
