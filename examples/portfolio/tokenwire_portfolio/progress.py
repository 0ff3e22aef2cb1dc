"""How far a workflow has come."""

from __future__ import annotations

from agent_core.agents import Progress


class Meter:
    """Counts steps into percents, which never fall. The first is 0, the last 100.

    Args:
        steps: How many steps there will be before the end; more are seen as the last.
    """

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._done = 0

    def step(self, message: str, step: str) -> Progress:
        """Return the event at the beginning of a step.

        Args:
            message: What is being done, fit for a user.
            step: The step's name, for programs.
        """
        percent = 100 * min(self._done, self._steps - 1) // self._steps
        self._done += 1
        return Progress(percent, message, step)

    def extend(self, steps: int) -> None:
        """Set the number of steps, now that it is known. Only before the second step."""
        self._steps = steps

    def end(self) -> Progress:
        """Return the event at the end of all."""
        self._done = self._steps
        return Progress(100, "Complete!", "complete")
