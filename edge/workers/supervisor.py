"""Starts workers, starts again what died, and ends them all together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from edge.listening import listen
from edge.workers.plan import Plan
from edge.workers.slot import Slot
from tokenwire.addresses import MAX_PORT, address_of, try_bind
from tokenwire.processes import Child, explain_exit
from tokenwire.settings import WRONG_SETTINGS
from tokenwire.signals import means_hurry, stop_signals

STOP_MARGIN_S: Final = 10.0
"""What a worker may take beyond TOKENWIRE_DRAIN_S. Killing it is the last resort."""

HURRY_S: Final = 3.0
"""What it may take when there is no more time."""

HOLD_S: Final = 1.0
"""How long connections wait for a worker that died. If it stays away longer, the others get them."""

TICKET_KEY: Final = "TOKENWIRE_TICKET_KEY"
METRICS_PORT: Final = "TOKENWIRE_METRICS_PORT"
KEY_BYTES: Final = 32

logger = logging.getLogger("edge.workers")


class StartError(Exception):
    """The edge can't start. The text is a line for the operator."""


class Supervisor:
    """The workers of one edge.

    Args:
        plan: What to start.
        environment: What they are given.
    """

    def __init__(self, plan: Plan, environment: Mapping[str, str]) -> None:
        self._plan = plan
        key = {} if plan.has_key else {TICKET_KEY: secrets.token_urlsafe(KEY_BYTES)}
        # The settings do not look at the case of names.
        others = {name: text for name, text in environment.items() if name.upper() != METRICS_PORT}
        self._environment = {**others, **key}
        self._stop, self._hurry = asyncio.Event(), asyncio.Event()
        self._slots: list[Slot] = []
        self._metrics_ports: list[int] = []

    async def run(self) -> int:
        """Return the exit status: 0 after a signal, otherwise why it could not start."""
        loop = asyncio.get_running_loop()
        for number in stop_signals():
            loop.add_signal_handler(number, self._signalled, number)
        with tempfile.TemporaryDirectory(prefix="tokenwire-edge-") as folder:
            try:
                return await self._run(folder)
            except StartError as error:
                logger.error("%s", error)  # noqa: TRY400 # a line for the operator, not a traceback
                return 1
            finally:
                for slot in self._slots:
                    slot.close()

    async def _run(self, folder: str) -> int:
        port = self._open(folder)
        first = self._slots[0]
        # One alone at first: what is wrong with the settings is told once, and ends all.
        ready = await first.start(self._environment_of(first))
        status = await self._is_up(first, ready)
        if status is not None:
            return status
        keepers = [asyncio.create_task(self._keep(slot), name=slot.name) for slot in self._slots]
        address = address_of(self._plan.host, port)
        logger.info(
            "edge on http://%s has %d workers, core at %s", address, self._plan.workers, self._plan.core
        )
        stopping = asyncio.create_task(self._wait_for_stop())
        tasks = [stopping, *keepers]
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        killed = await self._end()
        for task in done:
            task.result()  # raises what a keeper has met that it does not know
        return 1 if killed else 0

    def _open(self, folder: str) -> int:
        """Open the shares of the port, and return it.

        Raises:
            StartError: The port can't be had.
        """
        plan = self._plan
        try:
            if not plan.shares_port and plan.port:
                # With SO_REUSEPORT, another edge would get half of our connections and nobody would know.
                try_bind(plan.host, plan.port)
            share = partial(listen, plan.host, share=True, write_deadline_s=plan.write_deadline_s)
            first = share(plan.port)
            port: int = first.getsockname()[1]
            listeners = [first, *(share(port) for _ in range(plan.workers - 1))]
        except OSError as error:
            address = address_of(plan.host, plan.port)
            raise StartError(f"can't listen on {address}: {error.strerror or error}") from error
        self._metrics_ports = metrics_ports(plan)
        again = partial(share, port)
        numbered = enumerate(listeners, start=1)
        self._slots = [Slot(number, plan.workers, each, again, folder) for number, each in numbered]
        return port

    def _environment_of(self, slot: Slot) -> dict[str, str]:
        return {**self._environment, METRICS_PORT: str(self._metrics_ports[self._slots.index(slot)])}

    async def _is_up(self, slot: Slot, ready: asyncio.Task[bool]) -> int | None:
        """Return None when the first worker serves; the exit status when it has ended, or all shall."""
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({ready, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if ready.done() and ready.result():
            return None
        if self._stop.is_set():
            ready.cancel()
            return 1 if await self._end() else 0
        assert slot.child is not None  # noqa: S101 # it was started
        code = await slot.child.exit
        if code < 0:
            logger.error("%s %s before it was ready", slot.name, explain_exit(code))
        return code if code == WRONG_SETTINGS else 1

    async def _keep(self, slot: Slot) -> None:
        """Have a place always taken."""
        while True:
            began_s = time.monotonic()
            if slot.child is None or slot.child.exit.done():
                try:
                    ready = await slot.start(self._environment_of(slot))
                except OSError as error:
                    pause_s = slot.pauses.next_s(0)
                    logger.error("%s can't be started: %s", slot.name, error)  # noqa: TRY400 # as above
                    await asyncio.sleep(max(pause_s, HOLD_S))
                    continue
                await ready
            child = slot.child
            assert child is not None  # noqa: S101 # it was started
            code = await asyncio.shield(child.exit)
            child.kill()  # what it left behind
            pause_s = slot.pauses.next_s(time.monotonic() - began_s)
            logger.error(
                "%s (pid %d) %s: it is started again %s, and its clients resume at any worker",
                *(slot.name, child.pid, explain_exit(code), f"in {pause_s:g} s" if pause_s else "at once"),
            )
            if pause_s > HOLD_S:
                slot.release()
            await asyncio.sleep(pause_s)

    async def _wait_for_stop(self) -> None:
        await self._stop.wait()

    async def _end(self) -> bool:
        """End all workers together; return whether one had to be killed."""
        for slot in self._slots:
            # New connections must not wait for workers that accept none any more.
            slot.close()
        children = [slot.child for slot in self._slots if slot.child and not slot.child.exit.done()]
        if not children:
            return False
        for child in children:
            _send(child.pid, signal.SIGTERM)
        exits = [child.exit for child in children]
        hurry = asyncio.create_task(self._hurry_up(children))
        await asyncio.wait(exits, timeout=self._plan.drain_s + STOP_MARGIN_S)
        hurry.cancel()
        late = [child for child in children if not child.exit.done()]
        for child in late:
            logger.error("%s (pid %d) did not end in time: killed", child.name, child.pid)
        for child in children:
            child.kill()
        await asyncio.wait(exits)
        return bool(late)

    async def _hurry_up(self, children: Sequence[Child]) -> None:
        """Give workers no more time, from a second signal on."""
        await self._hurry.wait()
        for child in children:
            _send(child.pid, signal.SIGINT)
        await asyncio.sleep(HURRY_S)
        for child in children:
            child.kill()

    def _signalled(self, number: signal.Signals) -> None:
        if self._stop.is_set() and means_hurry(number):
            self._hurry.set()
        self._stop.set()


def metrics_ports(plan: Plan) -> list[int]:
    """Return the port of each worker's metrics; 0 for any free one, which its log names.

    Raises:
        StartError: One can't be had.
    """
    if not plan.metrics_port:
        return [0] * plan.workers
    ports = list(range(plan.metrics_port, plan.metrics_port + plan.workers))
    try:
        if ports[-1] > MAX_PORT:
            raise StartError(
                f"{METRICS_PORT}={ports[0]}: {plan.workers} workers would need ports above {MAX_PORT}"
            )
        for port in ports:
            try_bind(plan.metrics_host, port)
    except OSError as error:
        address = address_of(plan.metrics_host, port)
        raise StartError(f"can't serve metrics on {address}: {error.strerror or error}") from error
    return ports


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
