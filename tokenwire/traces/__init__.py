"""Reads traces back: spans from files or a Phoenix server, a row per token, and what shows them."""
