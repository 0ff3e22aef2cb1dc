"""The agent `portfolio`: real workflows over the sample database."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from importlib.resources.abc import Traversable
from types import TracebackType
from typing import Final, Self

from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.agents.events import AgentError, AgentEvent, RunRequest
from agent_core.agents.portfolio import queries
from agent_core.agents.portfolio.asking import Desk
from agent_core.agents.portfolio.database import DATA, Database
from agent_core.agents.portfolio.names import find_task
from agent_core.agents.portfolio.narration import Narrator
from agent_core.agents.portfolio.nav import calculate_navs
from agent_core.agents.portfolio.report import QuarterlyReport
from agent_core.agents.portfolio.text import counted, speak, table

HELP: Final = (
    "I work on a sample of investment portfolios. Ask me to “Calculate NAV for all portfolios”, to "
    "“Generate quarterly performance report”, both also for one portfolio by name, or to “List portfolios”.\n"
)


class PortfolioAgent:
    """An agent that values portfolios and writes their quarterly report.

    Entering it builds the sample database, leaving it removes it.

    Args:
        narrator: Who words the report; None for the configured model, or the template where there is none.
            See `agent_core.agents.portfolio.narration`.
        data: The folder with the sample data.
    """

    def __init__(self, narrator: Narrator | None = None, data: Traversable = DATA) -> None:
        self.narrator = narrator
        """Who words the reports that begin from now on. Whoever composes the core may set it."""
        self._data = data
        self._database: Database | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._database = await stack.enter_async_context(Database(self._data))
            if self.narrator is None:
                self.narrator = await _configured_narrator(stack)
                stack.callback(setattr, self, "narrator", None)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._database = None
        await self._stack.aclose()

    async def __call__(self, request: RunRequest) -> AsyncIterator[AgentEvent | str]:
        """Yield the work that the message asks for.

        Raises:
            AgentError: NOT_FOUND for an unknown portfolio or quarter; UNAVAILABLE when it was not entered.
        """
        if self._database is None:
            raise AgentError("UNAVAILABLE", "The portfolio database is not open.", retryable=True)
        async with aclosing(self._work(Desk(self._database), request.message)) as events:
            async for event in events:
                yield event

    def _work(self, desk: Desk, message: str) -> AsyncGenerator[AgentEvent | str]:
        """Return the workflow for a message."""
        match find_task(message):
            case "nav":
                return calculate_navs(desk, message)
            case "report":
                return QuarterlyReport(desk, message, self.narrator).events()
            case "list":
                return list_portfolios(desk)
            case "help":
                return speak(HELP)


async def _configured_narrator(stack: AsyncExitStack) -> Narrator | None:
    """Return the configured model as a narrator; None when there is none, or it is not to narrate.

    Args:
        stack: Leaves the model.
    """
    settings = EndpointSettings()
    if settings.url is None or not settings.narrates:
        return None
    # Loaded only now, and beside the event loop: it takes seconds.
    endpoint = await asyncio.to_thread(importlib.import_module, "agent_core.agents.endpoint.assistant")
    narrator = await asyncio.to_thread(importlib.import_module, "agent_core.agents.endpoint.narrator")
    model = endpoint.EndpointAssistant(settings.model_copy(update={"tools": False}))
    chosen: Narrator = narrator.ModelNarrator(await stack.enter_async_context(model))
    return chosen


async def list_portfolios(desk: Desk) -> AsyncGenerator[AgentEvent | str]:
    """Yield a list of the portfolios."""
    listing = desk.ask(queries.list_portfolios())
    async for event in listing:
        yield event
    rows = [(each.name, each.code, each.base_currency, each.benchmark) for each in listing.result]
    lines = table(("Portfolio", "Code", "Currency", "Benchmark"), rows, left=4)
    async with aclosing(speak(f"There are {counted(len(rows), 'portfolio')}:\n\n{lines}")) as words:
        async for word in words:
            yield word


portfolio = PortfolioAgent()
"""What `--agent portfolio=agent_core.agents.portfolio:portfolio` loads."""
