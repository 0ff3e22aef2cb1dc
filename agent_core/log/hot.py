"""The old names of what is in live_tail. Goes once no store imports them."""

from agent_core.log.live_tail import LIVE_BYTES as HOT_BYTES
from agent_core.log.live_tail import LiveEvents as HotRun

__all__ = ["HOT_BYTES", "HotRun"]
