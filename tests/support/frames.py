"""HTTP/2 frames in a stream of bytes, and where it is to be cut: between two frames, or inside one. Pure.

Source: https://www.rfc-editor.org/rfc/rfc9113#section-4.1
"""

from __future__ import annotations

from typing import Final, NamedTuple

HEAD_BYTES: Final = 9
DATA: Final = 0


class FrameCut(NamedTuple):
    """Where a stream is cut."""

    after: int
    """So many whole frames pass before."""
    inside: bool
    """Whether half of the next DATA frame passes as well, rather than nothing more."""


class Frames:
    """Reads the frames that one side of a connection sends, from its first byte on."""

    def __init__(self) -> None:
        self.passed = 0
        """How many frames were passed on as a whole."""
        self._cut: FrameCut | None = None
        self._head = b""
        self._left = 0
        """How much is still to come of a frame whose head has come."""
        self._until_cut: int | None = None
        """How much of it passes before the cut."""

    def cut(self, cut: FrameCut, *, from_start: bool = False) -> None:
        """Cut the stream.

        Args:
            cut: Where.
            from_start: Whether frames are counted from the first one on, rather than from now.
        """
        self._cut = cut if from_start else cut._replace(after=self.passed + cut.after)

    def feed(self, data: bytes) -> int | None:
        """Return how many of these bytes pass before the cut; None for all of them.

        Args:
            data: What is sent next.
        """
        place = 0
        while True:
            if self._is_at_border():
                return place
            if place == len(data):
                return None
            if not self._left:
                place = self._read_head(data, place)
            else:
                step = min(self._left, len(data) - place)
                if self._until_cut is not None and self._until_cut <= step:
                    return place + self._until_cut
                place += step
                self._pass(step)

    def _is_at_border(self) -> bool:
        cut = self._cut
        return cut is not None and not (cut.inside or self._left or self._head) and self.passed >= cut.after

    def _read_head(self, data: bytes, place: int) -> int:
        """Return how far the data was read for a frame's head."""
        head = data[place : place + HEAD_BYTES - len(self._head)]
        self._head += head
        if len(self._head) == HEAD_BYTES:
            self._left = int.from_bytes(self._head[:3])
            is_data = self._head[3] == DATA and self._left
            if is_data and self._cut is not None and self._cut.inside and self.passed >= self._cut.after:
                self._until_cut = self._left // 2
            self._head = b""
            if not self._left:
                self.passed += 1
        return place + len(head)

    def _pass(self, size_bytes: int) -> None:
        self._left -= size_bytes
        if self._until_cut is not None:
            self._until_cut -= size_bytes
        if not self._left:
            self.passed += 1
