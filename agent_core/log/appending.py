"""Appends that are awaited, on top of those that are submitted."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Sequence

from agent_core.log.contract import Append, Appended, End, OnAnswer


class AwaitableAppends:
    """Gives a store `append` and `close`, made from its `submit`. For all but the writer of a run."""

    @abstractmethod
    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        """Write events of a run, as RunLog has it."""

    async def append(self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        """Return what became of events that were submitted alone."""
        return await self._answer(Append(run_id, epoch, first, payloads))

    async def close(
        self, run_id: str, epoch: int, first: int, payloads: Sequence[bytes], end: End
    ) -> Appended:
        """Return what became of a run's last events and its end."""
        return await self._answer(Append(run_id, epoch, first, payloads, end))

    async def _answer(self, append: Append) -> Appended:
        answer: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()

        def on_answer(appended: Appended | Exception) -> None:
            if answer.done():
                return  # The one who asked was cancelled.
            if isinstance(appended, Exception):
                answer.set_exception(appended)
            else:
                answer.set_result(appended)

        self.submit(append, on_answer)
        return await answer
