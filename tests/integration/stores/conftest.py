"""Each store of runs, empty, for the tests of what all of them must do."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from agent_core.log.budget import LogBudget
from agent_core.log.contract import RunLog
from tests.support.stores import STORE_PARAMETERS, Clock, OpenLog, Setting, open_store


@pytest.fixture
def clock() -> Clock:
    """The stores' wall clock."""
    return Clock()


@pytest.fixture(params=STORE_PARAMETERS)
async def open_log(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> AsyncIterator[OpenLog]:
    """Opens each store, empty, with the given parts of a budget."""
    async with AsyncExitStack() as stack:

        async def open_it(**budget: float) -> RunLog:
            setting = Setting(tmp_path, LogBudget(**budget), clock)
            return await stack.enter_async_context(open_store(request.param, setting))

        yield open_it


@pytest.fixture
async def log(open_log: OpenLog) -> RunLog:
    """Each store, empty."""
    return await open_log()
