"""Text with a model's thoughts in it, cut so that the tags are deltas of their own. No I/O.

Pydantic AI takes `<think>` and `</think>` for what they are only where a delta is nothing else.
"""

from __future__ import annotations

import re
from typing import Final

OPEN: Final = "<think>"
CLOSE: Final = "</think>"

_QUOTES: Final = "`'\"\u201c\u201d\u2018\u2019\u00ab\u00bb"
_LONE_CLOSE: Final = re.compile(rf"(?<![{_QUOTES}]){CLOSE}(?![{_QUOTES}])")
"""A closing tag that is not just spoken of."""
_INK: Final = re.compile(r"\S")


class ThoughtSplitter:
    """Cuts the text of one answer.

    The opening tag counts at the beginning of an answer, or as a delta of its own. A closing tag without an
    opening one counts once: some chat templates write the opening tag into the prompt. What was told before
    it stays text, but what stands before it in the same delta is a thought.

    Args:
        inside: Whether the answer begins with thoughts, without an opening tag.
    """

    def __init__(self, *, inside: bool = False) -> None:
        self._inside = False
        self._expected = inside
        """Whether the first text is a thought."""
        self._parted = False
        """Whether the thoughts stand in parts of their own, without tags."""
        self._thought = False
        """Whether there were thoughts. Then a closing tag alone is text."""
        self._started = False
        """Whether the answer has begun with anything but white space."""
        self._after_close = False
        self._held = ""

    def reasoned(self) -> None:
        """Take note that the endpoint tells thoughts apart by itself."""
        self._thought, self._expected = True, False

    def feed(self, text: str) -> list[str]:
        """Return a text in pieces, each of which is a tag or has none that counts."""
        special = self._inside or self._after_close or self._held or not (self._thought or self._started)
        if special or "<" in text:
            return self._pieces(text)
        return [text] if text else []  # Nearly always: an answer that goes on.

    def feed_thought(self, text: str) -> list[str]:
        """Return the pieces of a thought that came in a part of its own."""
        pieces = self.flush()
        if not self._inside:
            pieces.append(OPEN)
        self._inside = self._parted = self._thought = True
        self._expected = False
        return [*pieces, text]

    def flush(self) -> list[str]:
        """Return what waits for the rest of a tag."""
        held, self._held = self._held, ""
        return [held] if held else []

    def _pieces(self, text: str) -> list[str]:
        text, self._held = self._held + text, ""
        pieces: list[str] = []
        if self._parted and text:
            pieces.append(self._close())
        if self._expected and text:
            self._expected = False
            pieces.append(self._open())
            text = text.removeprefix(OPEN)
        at = 0
        while at < len(text):
            at = self._thoughts(text, at, pieces) if self._inside else self._plain(text, at, pieces)
        return pieces

    def _thoughts(self, text: str, at: int, pieces: list[str]) -> int:
        """Take thoughts from a place on, and return where they end."""
        end = text.find(CLOSE, at)
        before = text[at:end] if end >= 0 else self._hold(text[at:], CLOSE)
        if before:
            pieces.append(before)
        if end < 0:
            return len(text)
        pieces.append(self._close())
        return end + len(CLOSE)

    def _plain(self, text: str, at: int, pieces: list[str]) -> int:
        """Take text from a place on, and return where it ends."""
        # By places: to cut what was taken off a long text would copy the rest for each tag.
        begin = found.start() if (found := _INK.search(text, at)) else len(text)
        if self._after_close:
            at = begin  # The template's line breaks between the thoughts and the answer.
            self._after_close = at == len(text)
        if text.startswith(OPEN, begin) and (not self._started or at == begin == len(text) - len(OPEN)):
            self._add(text[at:begin], pieces)
            pieces.append(self._open())
            return begin + len(OPEN)
        if not self._thought and (lone := _LONE_CLOSE.search(text, at)):
            if thought := text[at : lone.start()]:
                pieces += [self._open(), thought, self._close()]
            self._thought = self._after_close = True
            return lone.end()
        rest = text[at:]
        if not self._thought:
            rest = self._hold(rest, CLOSE)
        if not self._started and not self._held:
            rest = self._hold(rest, OPEN, only=True)
        self._add(rest, pieces)
        return len(text)

    def _add(self, text: str, pieces: list[str]) -> None:
        if text:
            self._started = self._started or not text.isspace()
            pieces.append(text)

    def _open(self) -> str:
        self._inside = self._thought = True
        return OPEN

    def _close(self) -> str:
        self._inside = self._parted = False
        self._after_close = True
        return CLOSE

    def _hold(self, text: str, tag: str, *, only: bool = False) -> str:
        """Return a text without the beginning of a tag at its end, which then waits for the rest.

        Args:
            text: The text.
            tag: The tag.
            only: Whether nothing but white space may stand before it.
        """
        at = text.rfind("<", -len(tag) + 1)
        if at < 0 or not tag.startswith(text[at:]) or text[at:] == tag:
            return text
        if only and text[:at].strip():
            return text
        self._held = text[at:]
        return text[:at]
