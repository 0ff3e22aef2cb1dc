"""Runs scripts in groups, without a timer.

What comes while nothing is under way is sent at once. What comes in the meantime, of whichever run, waits
and goes together in one pipeline: one round trip for all of it. Each script answers for itself.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from redis.exceptions import NoScriptError, ReadOnlyError

from agent_core.log.errors import LogAwayError
from agent_core.log.redis.calls import Call
from agent_core.log.redis.connection import BROKEN, log_error
from agent_core.log.redis.lua import HASHES, SCRIPTS

AT_ONCE: Final = 128
"""The most scripts of one round trip."""

AT_ONCE_BYTES: Final = 1024 * 1024
"""About how many bytes of arguments go in one round trip."""


class _Job(NamedTuple):
    """Calls that are done together or not at all, and who waits for the last one's answer."""

    calls: Sequence[Call]
    done: asyncio.Future[Any]
    creating: bool


class Committer:
    """Runs the scripts of one process.

    Args:
        client: Redis, for the event loop.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._jobs: deque[_Job] = deque()
        self._task: asyncio.Task[None] | None = None

    async def run(self, *calls: Call, creating: bool = False) -> Any:
        """Return the last script's answer. Several of them are one transaction.

        Args:
            calls: The scripts.
            creating: A run is to be created, for which there may be no memory.

        Raises:
            LogAwayError: There was no answer. The scripts may have run all the same.
            LogFullError: There is no memory for another run.
        """
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._jobs.append(_Job(calls, done, creating))
        if self._task is None:
            self._task = asyncio.create_task(self._commit(), name="redis committer")
        return await done

    async def aclose(self) -> None:
        """Finish what is under way."""
        if self._task is not None:
            await self._task

    async def _commit(self) -> None:
        """Send what there is until there is nothing more."""
        try:
            while self._jobs:
                jobs = self._group()
                try:
                    await self._send(jobs)
                except Exception as error:  # noqa: BLE001 # whoever waits must not wait for ever
                    for job in jobs:
                        _fail(job, error)
        finally:
            self._task = None

    def _group(self) -> list[_Job]:
        """Return what goes together now: one job at least."""
        jobs: list[_Job] = []
        size = 0
        while self._jobs and len(jobs) < AT_ONCE and size < AT_ONCE_BYTES:
            job = self._jobs.popleft()
            jobs.append(job)
            size += sum(len(word) for call in job.calls for word in call.arguments if type(word) is bytes)
        return jobs

    async def _send(self, jobs: list[_Job]) -> None:
        """Send some jobs in one round trip; once more those whose script Redis did not know."""
        unknown = await self._pipeline(jobs)
        if unknown:
            for script in {call.script for job in unknown for call in job.calls}:
                await self._client.script_load(SCRIPTS[script])
            for job in await self._pipeline(unknown):
                _fail(job, LogAwayError("Redis does not keep scripts"))

    async def _pipeline(self, jobs: list[_Job]) -> list[_Job]:
        """Send jobs and hand out the answers. Return those whose script Redis did not know."""
        pipeline = self._client.pipeline(transaction=False)
        for job in jobs:
            if len(job.calls) > 1:
                pipeline.execute_command("MULTI")
            for call in job.calls:
                pipeline.execute_command(*_words(call))
            if len(job.calls) > 1:
                pipeline.execute_command("EXEC")
        found = iter(await pipeline.execute(raise_on_error=False))
        unknown: list[_Job] = []
        answers = [_answer_of(job, found) for job in jobs]
        if any(isinstance(answer, ReadOnlyError) for answer in answers):
            # Of one that is a replica now: new connections find the primary, under this address or another.
            await self._client.connection_pool.disconnect()
        for job, answer in zip(jobs, answers, strict=True):
            if isinstance(answer, NoScriptError):
                unknown.append(job)
            elif isinstance(answer, Exception):
                _fail(job, answer)
            elif not job.done.done():
                job.done.set_result(answer)
        return unknown


def _words(call: Call) -> tuple[Any, ...]:
    """Return the words of a script's command."""
    return ("EVALSHA", HASHES[call.script], len(call.keys), *call.keys, *call.arguments)


def _answer_of(job: _Job, answers: Any) -> Any:
    """Return a job's answer: its last script's, or the first failure."""
    if len(job.calls) == 1:
        return next(answers)
    queued = [next(answers) for _ in range(len(job.calls) + 1)]
    executed = next(answers)
    refused = next((answer for answer in queued if isinstance(answer, Exception)), None)
    if refused is not None or isinstance(executed, Exception):
        return refused or executed
    return next((answer for answer in executed if isinstance(answer, Exception)), executed[-1])


def _fail(job: _Job, error: Exception) -> None:
    """Tell the one who waits for a job."""
    if not job.done.done():
        failure = log_error(error, creating=job.creating) if isinstance(error, BROKEN) else error
        job.done.set_exception(failure)
