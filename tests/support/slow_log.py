"""A store of runs that answers when a test lets it."""

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Final

from agent_core.log.append import Append, Appended, AppendStatus, OnAnswer
from agent_core.log.contract import StoreTraits
from agent_core.log.errors import LogAwayError
from agent_core.log.memory.log import MemoryLog
from agent_core.log.position import START
from agent_core.log.records import RunRecord
from tests.support.stores import FAR, RUN, texts

GONE: Final = Appended(AppendStatus.GONE)
FENCED: Final = Appended(AppendStatus.FENCED)

ALL: Final = 99
"""More appends than a test has."""


class SlowLog(MemoryLog):
    """A store that answers only when it is let, each time in a turn of its own."""

    def __init__(self, *, restorable: bool = False) -> None:
        super().__init__()
        self.sizes: list[int] = []
        """How many events were submitted with each append."""
        self.away = 0
        """How many appends fail."""
        self.answers: deque[Appended | Exception] = deque()
        """What is answered instead of writing anything."""
        self.restored: list[tuple[int, int]] = []
        """From which number on how many events were written again."""
        self.restoring: deque[Appended | Exception] = deque()
        """What is answered to `restore`: OK where there is nothing."""
        self._restorable = restorable
        self._let = 0
        self._submitted: deque[tuple[Append, OnAnswer]] = deque()

    @property
    def traits(self) -> StoreTraits:
        return StoreTraits(volatile=False, restorable=self._restorable)

    def submit(self, append: Append, on_answer: OnAnswer) -> None:
        self.sizes.append(len(append.payloads))
        assert not self._submitted, "a run has one append under way at a time"
        self._submitted.append((append, on_answer))
        self.let(0)

    def let(self, count: int = 1) -> None:
        """Answer so many appends more."""
        self._let += count
        if self._let and self._submitted:
            asyncio.get_running_loop().call_soon(self._answer)

    async def restore(self, record: RunRecord, epoch: int, first: int, payloads: Sequence[bytes]) -> Appended:
        del record, epoch
        self.restored.append((first, len(payloads)))
        await asyncio.sleep(0)
        answer = self.restoring.popleft() if self.restoring else Appended(AppendStatus.OK)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _answer(self) -> None:
        if not self._let or not self._submitted:
            return
        self._let -= 1
        append, on_answer = self._submitted.popleft()
        if self.away:
            self.away -= 1
            on_answer(LogAwayError("disk full"))
        elif self.answers:
            on_answer(self.answers.popleft())
        else:
            super().submit(append, on_answer)

    def write_unseen(self, payloads: Sequence[bytes]) -> None:
        """Write events whose answer is lost."""
        super().submit(Append(RUN, 1, 1, payloads), lambda _: None)

    async def said(self) -> list[str]:
        return texts((await self.read(RUN, START, 99, FAR)).events)


async def turns(count: int = 5) -> None:
    """Let the event loop have some turns."""
    for _ in range(count):
        await asyncio.sleep(0)
