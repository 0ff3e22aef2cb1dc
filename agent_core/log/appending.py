"""The old place of AwaitableAppends. Goes once no module imports it from here."""

from agent_core.log.append import AwaitableAppends

__all__ = ["AwaitableAppends"]
