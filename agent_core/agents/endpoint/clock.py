"""How long an answer's next chunk may take. No I/O, no clock of its own."""

from __future__ import annotations

from typing import Final

from openai.types.chat import ChatCompletionChunk

END_GRACE_S: Final = 2.0
"""How long an endpoint that has told a finish reason may take to end its answer, in seconds.

The usage comes after the finish reason, mostly at once. Some endpoints then keep the connection open and say
nothing.
"""

EARLY_GRACE_S: Final = 10.0
"""The same where the finish reason came beside text. Some endpoints tell one in every chunk, and go on."""


class ChunkClock:
    """Tells how long the next chunk may take, and what it means when it does not come.

    Args:
        stall_s: How long any chunk may take, in seconds.
    """

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._said = False
        self._end: float | None = None
        self.finished = False
        """Whether the answer is complete when nothing more comes."""

    def left_s(self, now: float) -> float:
        """Return how long the next chunk may take, in seconds.

        Args:
            now: Now, in seconds of any clock that goes on steadily.
        """
        return self._stall_s if self._end is None else max(0.0, min(self._stall_s, self._end - now))

    def feed(self, chunk: ChatCompletionChunk, now: float) -> None:
        """Take a chunk.

        Args:
            chunk: A clean one.
            now: When it came, by the same clock.
        """
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        if says := _says(choice.delta):
            self._said, self._end = True, None
        if choice.finish_reason:
            self.finished = True
            # One that comes before all text is too early, and no end.
            if self._said:
                self._end = now + (EARLY_GRACE_S if says else END_GRACE_S)


def _says(delta: object) -> bool:
    """Return whether a delta has anything in it."""
    names = ("content", "tool_calls", "reasoning_content", "reasoning", "refusal")
    return any(getattr(delta, name, None) for name in names)
