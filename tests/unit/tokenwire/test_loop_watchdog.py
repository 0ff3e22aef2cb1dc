"""An event loop that stands still is told: while it does, on whose behalf, where, and for how long."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from itertools import repeat
from typing import Any

import pytest
import uvloop

from tokenwire import loop_watchdog
from tokenwire.logs import bind_log_fields, log_fields
from tokenwire.loop_watchdog import LoopWatchdog

WARN_S = 0.5
BLOCK_S = 1.3
LOGGER = "tokenwire.loop_watchdog"


def sleeps() -> None:
    time.sleep(BLOCK_S)


def computes() -> None:
    end = time.monotonic() + BLOCK_S
    while time.monotonic() < end:
        sum(range(100))


def reads_a_socket() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(BLOCK_S)
        with pytest.raises(TimeoutError):
            ours.recv(1)


def told(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return what the watchdog has logged."""
    return [record for record in caplog.records if record.name == LOGGER]


async def watched(step: Coroutine[Any, Any, object]) -> None:
    """Run a step of a run's under the watchdog, and let the loop turn for a while afterwards."""
    with LoopWatchdog(warn_s=WARN_S, look_every_s=0.05):
        await asyncio.sleep(0.1)
        bind_log_fields(log_fields(run_id="r1", agent="shop"))
        await asyncio.create_task(step, name="agent of r1")
        await asyncio.sleep(0.3)


async def directly(block: Callable[[], None]) -> None:
    block()


async def in_a_generator(block: Callable[[], None]) -> None:
    async def agent() -> AsyncIterator[str]:
        yield "one"
        block()

    assert [item async for item in agent()] == ["one"]


async def in_a_tasks_task(block: Callable[[], None]) -> None:
    """As a library does that calls tools: each in a task of its own."""
    async with asyncio.TaskGroup() as tools:
        tools.create_task(directly(block), name="tool")


@pytest.mark.parametrize(
    ("step", "block", "factory"),
    [
        (directly, sleeps, asyncio.new_event_loop),
        (in_a_generator, computes, uvloop.new_event_loop),
        (in_a_tasks_task, reads_a_socket, uvloop.new_event_loop),
        (in_a_tasks_task, sleeps, asyncio.new_event_loop),
    ],
)
def test_a_block_is_told_while_it_lasts_and_when_it_is_over(
    step: Callable[[Callable[[], None]], Coroutine[Any, Any, None]],
    block: Callable[[], None],
    factory: Callable[[], asyncio.AbstractEventLoop],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With the run, its agent, and the line of code; in a tool's own task too."""
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(watched(step(block)))
    first, *_, last = told(caplog)
    text = first.getMessage()
    assert "has been blocked for" in text
    assert "run r1, agent shop" in text
    assert f"{__file__}:" in text
    assert block.__name__ in text
    assert "runs again" in last.getMessage()
    for record in (first, last):
        assert (record.levelname, record.run_id, record.agent) == ("WARNING", "r1", "shop")  # type: ignore[attr-defined]
    assert first.created < last.created


class Clock:
    """A loop that does not answer until it is let, and the time."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.asked: list[Callable[[], None]] = []

    def monotonic(self) -> float:
        return self.now_s

    def call_soon_threadsafe(self, answer: Callable[[], None]) -> None:
        self.asked.append(answer)


def test_a_long_block_is_told_at_growing_intervals(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After 1, 4 and 16 s, and once when it is over: not in each look."""
    clock = Clock()
    monkeypatch.setattr(loop_watchdog, "time", clock)
    watch = loop_watchdog._Watch(clock, threading.get_ident(), 1.0)  # type: ignore[arg-type]
    watch.ask()
    for _ in range(80):
        clock.now_s += 0.25
        watch.look()
    clock.asked[0]()
    watch.look()
    assert [re.search(r"[0-9.]+ s", record.getMessage())[0] for record in told(caplog)] == [  # type: ignore[index]
        "1.0 s",
        "4.0 s",
        "16.0 s",
        "20.0 s",
    ]
    assert len(clock.asked) == 2
    clock.now_s += 0.5
    watch.look()
    assert len(told(caplog)) == 4


def test_native_code_that_keeps_the_interpreter_is_told_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    """No thread of Python's runs meanwhile, not even the one that watches."""
    began = time.perf_counter()
    sum(repeat(1, 5_000_000))
    number = int(5_000_000 * 4 * WARN_S / (time.perf_counter() - began))

    async def native() -> None:
        sum(repeat(1, number))
        until = time.monotonic() + 10
        while not told(caplog) and time.monotonic() < until:
            pass  # Python's own code lets go now and then

    asyncio.run(watched(native()))
    texts = [record.getMessage() for record in told(caplog)]
    assert len(texts) == 1, texts
    assert "native code did not release the GIL" in texts[0]
    assert "run r1" in texts[0]
    assert "native" in texts[0].splitlines()[1]


def test_a_busy_loop_that_turns_is_not_told(caplog: pytest.LogCaptureFixture) -> None:
    """Many steps that take all of the CPU, each of them short."""

    async def busy() -> None:
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            sum(range(10_000))
            await asyncio.sleep(0)

    asyncio.run(_healthy(busy))
    assert not told(caplog)


async def _healthy(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with LoopWatchdog():
        await asyncio.gather(*(work() for _ in range(50)))


STOPPED = f"""
import asyncio, logging, sys
logging.basicConfig(stream=sys.stdout, format="%(message)s")
from tokenwire.loop_watchdog import LoopWatchdog
async def main():
    with LoopWatchdog(warn_s={WARN_S}, look_every_s=0.05):
        await asyncio.sleep(0.2)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
asyncio.run(main())
"""


def test_a_process_that_was_stopped_blames_nothing_on_its_code() -> None:
    """SIGSTOP, a suspended machine: nothing stood on the loop."""
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(process.pid, signal.SIGCONT)
        line = process.stdout.readline()
        assert line.startswith("this process was stopped, or got no CPU, for 1.")
        process.stdin.write("\n")
        process.stdin.close()
        assert process.stdout.read() == ""


def test_a_watchdog_ends_with_its_loop() -> None:
    """A loop that is closed first does not leave the thread behind."""
    loop = asyncio.new_event_loop()
    watchdog = LoopWatchdog(look_every_s=0.01)

    async def start() -> None:
        watchdog.start()

    loop.run_until_complete(start())
    loop.close()
    thread = watchdog._thread
    assert thread is not None
    thread.join(10)
    assert not thread.is_alive()
    watchdog.stop()
