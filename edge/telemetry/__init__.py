"""Spans of the edge."""
