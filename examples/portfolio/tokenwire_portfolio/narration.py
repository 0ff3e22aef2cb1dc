"""Who words the report.

The figures are always computed. A narrator gets them as they are shown, and gives sentences. The
template's are those of the section's draft. A capable model can be given instead: what
it says goes through `verified`, which leaves out every sentence with a number that was not computed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final, Protocol

from tokenwire_portfolio.sections import Section
from tokenwire_portfolio.text import speak, split_words

log = logging.getLogger(__name__)

MAX_SENTENCE: Final = 2000
"""Characters. A longer one is left out: it is held back until it ends."""

_NUMBER: Final = re.compile(r"[^\W\d_]*\d[\d.,]*")
_SENTENCE_END: Final = re.compile(r"[.!?:]['\")*]*\s+|\n+")


class Narrator(Protocol):
    """Words a section of the report.

    One that raises is replaced by the template: for the section, when it has said nothing of it
    yet, and from the next section on in any case.
    """

    def narrate(self, section: Section) -> AsyncIterator[str]:
        """Return the text's pieces, as they come. Async generators are closed.

        Args:
            section: Its facts, and a draft to start from. No other number may be said.
        """
        ...


class TemplateNarrator:
    """Says the draft, word by word."""

    def narrate(self, section: Section) -> AsyncIterator[str]:
        """Return the draft's words."""
        return speak(section.draft)


class Teller:
    """Tells a report's sections, by a narrator as long as it works.

    Args:
        narrator: The narrator; None for the template.
    """

    def __init__(self, narrator: Narrator | None) -> None:
        self._narrator = narrator

    async def tell(self, section: Section) -> AsyncGenerator[str]:
        """Yield a section: its heading, its text, its table."""
        async with aclosing(speak(f"## {section.title}\n\n")) as words:
            async for word in words:
                yield word
        last = ""
        if self._narrator is not None:
            async with aclosing(self._narrated(self._narrator, section)) as words:
                async for word in words:
                    yield word
                    last = word
        rest = section.draft if not last else "" if last.endswith("\n") else "\n"
        after = f"{section.table}\n" if section.table else ""
        async with aclosing(speak(f"{rest}\n{after}")) as words:
            async for word in words:
                yield word

    async def _narrated(self, narrator: Narrator, section: Section) -> AsyncGenerator[str]:
        """Yield what the narrator says; one that fails is not asked again."""
        try:
            async with aclosing(verified(narrator, section)) as words:
                async for word in words:
                    yield word
        except Exception:
            self._narrator = None
            log.exception("The narrator failed at %r: the template is used instead", section.title)


async def verified(narrator: Narrator, section: Section) -> AsyncGenerator[str]:
    """Yield a narrator's words, a sentence as soon as it is whole, without those that have foreign numbers.

    A number counts as computed when it stands in the section in just that form. What the words
    around it say is the narrator's: the tables are there to compare.
    """
    known = numbers_in(" ".join((*section.facts, *section.facts.values(), section.draft, section.table)))
    stream = narrator.narrate(section)
    pending = ""
    try:
        async for piece in stream:
            pending += piece
            while end := _SENTENCE_END.search(pending):
                sentence, pending = pending[: end.end()], pending[end.end() :]
                for word in _judged(sentence, known):
                    yield word
            if len(pending) > MAX_SENTENCE:
                raise ValueError("the narrator's sentence has no end")
        for word in _judged(pending, known):
            yield word
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def _judged(sentence: str, known: frozenset[str]) -> list[str]:
    """Return a sentence's words, or none when it has a number that is not known."""
    if numbers_in(sentence) <= known:
        return split_words(sentence)
    log.warning("Left out a sentence of the narrator: it has a number that was not computed")
    return []


def numbers_in(text: str) -> frozenset[str]:
    """Return the numbers in a text, each with the letters before it ("Q3"), without separators of thousands.

    Numerals that are no ASCII digits, such as fractions, are numbers of their own.
    """
    found = {match.rstrip(".,").replace(",", "").casefold() for match in _NUMBER.findall(text)}
    return frozenset(found | {sign for sign in text if sign.isnumeric() and not sign.isascii()})
