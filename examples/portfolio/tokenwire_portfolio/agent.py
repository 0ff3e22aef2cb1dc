"""The agent `portfolio`: real workflows over the sample database."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from importlib.resources.abc import Traversable
from types import TracebackType
from typing import Final, Self

from agent_core.agents import AgentError, AgentEvent, RunRequest
from agent_core.agents.assistant import configured_model
from agent_core.agents.endpoint.settings import EndpointSettings
from tokenwire_portfolio import queries
from tokenwire_portfolio.asking import Desk
from tokenwire_portfolio.database import DATA, Database
from tokenwire_portfolio.model_narrator import ModelNarrator
from tokenwire_portfolio.names import find_task
from tokenwire_portfolio.narration import Narrator
from tokenwire_portfolio.nav import calculate_navs
from tokenwire_portfolio.report import QuarterlyReport
from tokenwire_portfolio.settings import PortfolioSettings
from tokenwire_portfolio.text import counted, speak, table

HELP: Final = (
    "I work on a sample of investment portfolios. Ask me to “Calculate NAV for all portfolios”, to "
    "“Generate quarterly performance report”, both also for one portfolio by name, or to “List portfolios”.\n"
)


class PortfolioAgent:
    """An agent that values portfolios and writes their quarterly report.

    Entering it builds the sample database, leaving it removes it.

    Args:
        narrator: Who words the report; None for the configured model, or the template where there is none.
            See `tokenwire_portfolio.narration`.
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
    if not PortfolioSettings().narrates:
        return None
    model = await configured_model(EndpointSettings(tools="off"))
    return None if model is None else ModelNarrator(await stack.enter_async_context(model))


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
"""What `--agent portfolio` loads: pyproject.toml offers it by that name."""
