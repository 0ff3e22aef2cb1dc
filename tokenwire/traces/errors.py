"""Why a trace can't be shown."""

from __future__ import annotations


class TraceError(Exception):
    """The text is one line for the user."""


class UnreadableError(TraceError):
    """What was named can't be read, or is something else."""


class NotFoundError(TraceError):
    """No span belongs to what was asked for."""


class AmbiguousError(TraceError):
    """A shortened id fits several traces or runs, which the text names."""


class UnreachableError(TraceError):
    """The server does not answer, or not as it should."""
