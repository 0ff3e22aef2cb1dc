"""Spans of the core, by hand: what they are called and what they say."""
