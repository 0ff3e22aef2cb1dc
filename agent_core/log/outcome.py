"""The old place of Outcome. Goes once no module imports it from here."""

from agent_core.log.records import Outcome

__all__ = ["Outcome"]
