"""Characters that were cut in two at the border of two deltas, put together again. No I/O."""

from __future__ import annotations

import codecs
import re
from typing import Final

REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
"""Stands for what is no character, as Unicode recommends."""

_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_HALF_AT_END: Final = re.compile("[\ud800-\udbff]$")
_BYTES: Final = re.compile("[\udc80-\udcff]+")
_LONE: Final = re.compile("[\ud800-\udfff]")


class CharacterJoiner:
    r"""Joins the halves of a character that two deltas of one text share.

    Two kinds of halves are known: surrogates, which JSON's `\ud83d` escapes and UTF-16 libraries cut apart,
    and bytes of UTF-8, which tokenizers cut apart; the latter stand in a text as Python's `surrogateescape`
    writes them. A half at the end of a delta waits for the next delta. One that has no other half becomes
    U+FFFD.
    """

    def __init__(self) -> None:
        self._held = ""

    @property
    def holds(self) -> bool:
        """Whether half a character waits for the next delta."""
        return bool(self._held)

    def feed(self, text: str) -> str:
        """Return what can be told of a text now; it may be empty."""
        if not self._held and text.isascii():
            return text
        text, self._held = self._held + text, ""
        try:
            text.encode()
        except UnicodeEncodeError:
            return self._joined(text)
        return text

    def flush(self) -> str:
        """Return what stands for the half that still waits, at the end of the text; mostly empty."""
        held, self._held = self._held, ""
        return REPLACEMENT if held else ""

    def _joined(self, text: str) -> str:
        text = _PAIR.sub(_join_pair, text)
        if _HALF_AT_END.search(text):
            text, self._held = text[:-1], text[-1]
        text = _BYTES.sub(lambda run: self._decoded(run.group(), last=run.end() == len(text)), text)
        return _LONE.sub(REPLACEMENT, text)

    def _decoded(self, run: str, *, last: bool) -> str:
        """Return the characters of a run of escaped bytes. At the end of a text the rest may follow."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        decoded = decoder.decode(_bytes_of(run), final=not last)
        if last and not self._held:
            self._held = decoder.getstate()[0].decode("utf-8", "surrogateescape")
        return decoded


def _join_pair(pair: re.Match[str]) -> str:
    return pair.group().encode("utf-16-le", "surrogatepass").decode("utf-16-le")


def _bytes_of(run: str) -> bytes:
    return run.encode("utf-8", "surrogateescape")
