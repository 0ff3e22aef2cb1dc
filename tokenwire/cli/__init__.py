"""The command line. It starts the core and the edge as processes and imports neither."""

from tokenwire.cli.commands import main

__all__ = ["main"]
