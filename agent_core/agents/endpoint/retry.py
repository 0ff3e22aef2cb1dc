"""When a model call is made again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import stamina

from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.agents.model_failures import AWAY, BROKEN, BUSY, CUT_OFF, ModelCallError

AGAIN: Final = frozenset(kind.reason for kind in (AWAY, BROKEN, BUSY, CUT_OFF))
"""The failures that another attempt may mend. None that took long: nobody waits for two time-outs."""

FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0


def attempts(settings: EndpointSettings, *, again: bool) -> AsyncIterator[stamina.Attempt]:
    """Return the attempts at opening an answer, one when it is not to be tried again.

    Args:
        settings: How many, and for how long.
        again: Whether there may be more than one.
    """

    def pause(error: Exception) -> bool | float:
        """Return whether to try again, or how many seconds the endpoint wants to be left alone."""
        if not isinstance(error, ModelCallError) or error.reason not in AGAIN:
            return False
        if error.retry_after_s is None:
            return True
        return error.retry_after_s <= settings.retry_s and error.retry_after_s

    return aiter(
        stamina.retry_context(
            on=pause,
            attempts=settings.retries + 1 if again else 1,
            timeout=settings.retry_s,
            wait_initial=FIRST_PAUSE_S,
            wait_max=LONGEST_PAUSE_S,
            wait_jitter=FIRST_PAUSE_S,
        )
    )
