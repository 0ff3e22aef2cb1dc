"""A SQLite log whose process is killed (SIGKILL) at one of its steps: for tests of what the next one finds.

    python -m tests.support.killed_log

Each line of standard input is an order; each is done by a process of its own, forked from this one: so
nothing is imported anew. A step is a statement that writes, on any of the log's connections, or an answer:
the process is killed just before it. The line of output says what had been answered until then.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent_core.log.append import AppendStatus, End
from agent_core.log.budget import LogBudget
from agent_core.log.records import Exchange
from agent_core.log.sqlite import checkpoints, schema
from agent_core.log.sqlite.log import SqliteLog
from agent_core.log.sqlite.writer import LogWriter
from tests.support.stores import OTHER, RUN, STOP, THIRD, payload, record

BUDGET: Final = LogBudget(run_events=48, run_bytes=100_000)
LIVE_BYTES: Final = 3_000
"""A run has a chunk after about ten events of SIZE."""
JOURNAL_BYTES: Final = 6_000
SIZE: Final = 100
EVENTS: Final = 60
"""How many RUN says: its ring is trimmed once."""
ASIDE: Final = 40
"""How many OTHER says, which has no end; THIRD says one, which would keep the journal."""


def text_of(run_id: str, number: int) -> str:
    """Return what a run says as an event."""
    return f"{run_id[-1]}{number}".ljust(SIZE, ".")


class Steps:
    """Counts what the log does, and kills this process before one step.

    Args:
        last: Which step; 0 for none.
    """

    def __init__(self, last: int) -> None:
        self._last = last
        self._lock = threading.Lock()
        self.count = 0

    def step(self) -> None:
        """Take one more step."""
        with self._lock:
            self.count += 1
            if self.count == self._last:
                os.kill(os.getpid(), signal.SIGKILL)

    def statement(self, text: str) -> None:
        """Take one more step where a statement writes."""
        if not text.startswith("SELECT") and not text.startswith("--"):
            self.step()


def traced(steps: Steps) -> Callable[[Path], sqlite3.Connection]:
    """Return a `connect` whose connections take a step for each statement that writes."""
    connect = schema.connect

    def connect_traced(path: Path) -> sqlite3.Connection:
        db = connect(path)
        db.set_trace_callback(steps.statement)
        return db

    return connect_traced


async def talk(path: Path, steps: Steps, answered: Callable[[str], None]) -> None:
    """Write three runs through all that happens to a log: chunks, a trim, an end, a checkpoint, a sweep."""
    log = SqliteLog(path, BUDGET, live_bytes=LIVE_BYTES, journal_bytes=JOURNAL_BYTES)
    await log.start()

    def said(what: str) -> None:
        steps.step()
        answered(what)

    async def say(run_id: str, first: int, count: int) -> None:
        events = [payload(text_of(run_id, number)) for number in range(first, first + count)]
        appended = await log.append(run_id, 1, first, events)
        assert appended.status is AppendStatus.OK
        said(f"{run_id} {first + count - 1}")

    for run_id in (RUN, OTHER, THIRD):
        await log.create(record(run_id, session=run_id, message="hello"))
        said(f"{run_id} 0")
    await say(THIRD, 1, 1)
    for turn in range(EVENTS // 3):
        saying = [say(RUN, 3 * turn + 1, 3)]
        if 2 * turn < ASIDE:
            saying.append(say(OTHER, 2 * turn + 1, 2))
        await asyncio.gather(*saying)
        if turn == EVENTS // 6:
            log._writing._begin_checkpoint()
            await asyncio.to_thread(log._writing._checkpoints._thread.submit(lambda: None).result)
    end = End(STOP, Exchange("?", "!"))
    await log.close(RUN, 1, EVENTS + 1, [payload(text_of(RUN, EVENTS + 1))], end)
    said(f"{RUN} {EVENTS + 1} end")
    await log.aclose()


def recover(path: Path, _: Steps, __: Callable[[str], None]) -> None:
    """Open a file as the next core does: an earlier version's too."""
    open_writer(path).close_file()


def open_writer(path: Path) -> LogWriter:
    """Return the writer of a file, which it has put in order."""
    return LogWriter(path, BUDGET, (), lambda: 1, lambda: 1, tail_bytes=LIVE_BYTES // 2)


def act(order: dict[str, Any], out: int) -> None:
    """Do what is ordered, in this process."""
    steps = Steps(order["step"])
    schema.connect = checkpoints.connect = traced(steps)  # type: ignore[attr-defined] # of no one else

    def answered(what: str) -> None:
        os.write(out, f"{what}\n".encode())

    if order["user"]:
        os.setgid(order["user"])
        os.setuid(order["user"])
    path = Path(order["path"])
    if order["do"] == "talk":
        asyncio.run(talk(path, steps, answered))
    else:
        recover(path, steps, answered)
    answered(f"steps {steps.count}")


def forked(order: dict[str, Any]) -> dict[str, Any]:
    """Do what is ordered in a process of its own. Return its exit code and what had been answered."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        try:
            act(order, send)
        except BaseException as error:  # noqa: BLE001 # a child that goes on would read the next order
            os.write(send, f"error {error}\n".encode())
            os._exit(1)
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, encoding="utf-8") as lines:
        answered = lines.read().splitlines()
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "answered": answered}


@dataclass(frozen=True)
class Found:
    """What a process has answered before it ended."""

    code: int
    answered: list[str]

    @property
    def killed(self) -> bool:
        """Whether it came to the step."""
        return self.code == -signal.SIGKILL

    @property
    def steps(self) -> int:
        """How many steps there were in all, where it was not killed."""
        return int(self.answered[-1].removeprefix("steps "))


class Victims:
    """Gives orders to the process that forks."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, do: str, path: Path, step: int = 0, user: int = 0) -> Found:
        """Have something done, up to a step.

        Args:
            do: "talk" or "recover".
            path: The file.
            step: Before which step it is killed; 0 for none.
            user: As which user; 0 for this one.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"do": do, "path": str(path), "step": step, "user": user}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return Found(**json.loads(self._process.stdout.readline()))


@contextmanager
def victims() -> Iterator[Victims]:
    """Run the process that forks."""
    command = [sys.executable, "-m", "tests.support.killed_log"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Victims(process)


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(json.dumps(forked(json.loads(line))) + "\n")
        sys.stdout.flush()
