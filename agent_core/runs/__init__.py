"""Runs: their state, their log, their manager."""
