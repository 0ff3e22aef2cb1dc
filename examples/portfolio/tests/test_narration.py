"""Who words the report."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

from agent_core.agents import RunRequest
from tokenwire_portfolio import Narrator, PortfolioAgent, Section, TemplateNarrator
from tokenwire_portfolio.narration import MAX_SENTENCE, Teller, numbers_in, verified

SECTION = Section(
    "Executive Summary", {"return": "+1.25 %", "quarter": "Q3 2026"}, "It made +1.25 %.\n", "| 1,000 |\n"
)


class Model:
    """A narrator that says what it was given, in pieces of three characters; then it may fail."""

    def __init__(self, text: str, *, fails: bool = False) -> None:
        self.text = text
        self.fails = fails
        self.asked: list[str] = []
        self.closed = 0

    async def narrate(self, section: Section) -> AsyncIterator[str]:
        self.asked.append(section.title)
        try:
            for start in range(0, len(self.text), 3):
                yield self.text[start : start + 3]
            if self.fails:
                raise ConnectionError("the model is gone")
        finally:
            self.closed += 1


async def words_of(narrator: Narrator) -> str:
    return "".join([word async for word in verified(narrator, SECTION)])


async def told_by(narrator: Narrator | None) -> str:
    return "".join([word async for word in Teller(narrator).tell(SECTION)])


@pytest.mark.parametrize(
    "text",
    [
        "A return of 1.25 % in Q3 2026.",
        "One thousand is 1,000 and 1000. Fine!\n\nNew paragraph",
        "No numbers at all",
        "",
    ],
)
async def test_computed_numbers_may_be_said(text: str) -> None:
    """What stands in the section passes unchanged."""
    assert await words_of(Model(text)) == text


@pytest.mark.parametrize(
    "sentence", ["It was 1.26 %. ", "In 3 months. ", "About 1.3 %. ", "A gain of ½ point. ", "Q4 2026 next. "]
)
async def test_a_sentence_with_a_foreign_number_is_left_out(
    sentence: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The model can't bring in a figure; its other sentences stay."""
    with caplog.at_level(logging.WARNING):
        assert await words_of(Model(f"First. {sentence}Last.")) == "First. Last."
    assert "not computed" in caplog.text


async def test_a_narrator_is_closed_when_it_is_left() -> None:
    """Leaving in mid-sentence closes the model's stream at once."""
    model = Model("First. " * 100)
    stream = verified(model, SECTION)
    assert await anext(stream) == "First. "
    await stream.aclose()
    assert model.closed == 1


async def test_the_template_says_the_draft() -> None:
    """With the template, or without a narrator, a section is heading, draft and table."""
    expected = "## Executive Summary\n\nIt made +1.25 %.\n\n| 1,000 |\n\n"
    assert await told_by(None) == expected
    assert await told_by(TemplateNarrator()) == expected


async def test_a_model_words_the_section() -> None:
    """Heading and table are the report's own, whatever the model says."""
    told = await told_by(Model("Up by 1.25 %."))
    assert told == "## Executive Summary\n\nUp by 1.25 %.\n\n| 1,000 |\n\n"


async def test_a_model_that_fails_is_replaced() -> None:
    """Before its first word the draft takes its place, and it is not asked again."""
    model = Model("", fails=True)
    teller = Teller(model)
    for _ in range(2):
        told = "".join([word async for word in teller.tell(SECTION)])
        assert "It made +1.25 %." in told
    assert model.asked == ["Executive Summary"]


async def test_a_model_that_fails_in_the_middle_keeps_its_words() -> None:
    """What was said stays, and the table follows: nothing is told twice."""
    told = await told_by(Model("Up by 1.25 %. ", fails=True))
    assert told == "## Executive Summary\n\nUp by 1.25 %. \n\n| 1,000 |\n\n"


async def test_a_sentence_without_end_is_not_waited_for() -> None:
    """A model that never ends a sentence counts as failed."""
    told = await told_by(Model("x" * (MAX_SENTENCE + 3)))
    assert "It made +1.25 %." in told


async def test_a_narrator_can_be_plugged_into_the_agent() -> None:
    """It is asked for each section in order, and the tables stay computed."""
    model = Model("A good quarter.")
    agent = PortfolioAgent()
    agent.narrator = model
    async with agent:
        events = [event async for event in agent(RunRequest("Generate quarterly performance report"))]
    text = "".join(event for event in events if isinstance(event, str))
    assert model.asked == ["Executive Summary", "Performance Analysis", "Risk Metrics", "Conclusion"]
    assert text.count("A good quarter.") == 4
    assert "| Pacific Growth | USD |" in text


def test_numbers_are_read_with_their_letters() -> None:
    """Q3 is no 3, separators of thousands do not count, and a full stop is no decimal point."""
    assert numbers_in("In Q3 it was 1,250.50, then 7.") == {"q3", "1250.50", "7"}
