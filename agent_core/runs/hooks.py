"""What a run tells those around it, and asks them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_core.log.contract import LogAwayError

if TYPE_CHECKING:
    from agent_core.runs.run import Run


@dataclass(frozen=True, slots=True)
class RunHooks:
    """Called by a run."""

    on_end: Callable[[Run, asyncio.Task[None] | None], None]
    """Called when it is over, with its agent's task where that still runs."""
    on_away: Callable[[str, LogAwayError], None]
    """Called with its id when the log does not take its events, and what the log said."""
    on_back: Callable[[str], None]
    """Called with its id when the log takes them again."""
    held: Callable[[], Awaitable[None]]
    """Returns once this core certainly owns its runs."""
