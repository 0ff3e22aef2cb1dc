"""Pages' reports come to any worker. What one knows of a stream is at the one that served it."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from edge.telemetry.browser_timing import END_TIMEOUT_S, BrowserTiming, PageReport
from edge.workers.plan import Place, report_socket
from tokenwire.outage import Repeats

MAX_BYTES: Final = 4 * 1024 * 1024
"""The largest report that is read: 16 times what a body may have by default."""

READ_S: Final = 2.0
"""How long another worker may take to send a report."""

TIMEOUT_S: Final = END_TIMEOUT_S + READ_S
"""How long a report may take at another worker, which waits for the end of its stream."""

_TAKEN: Final = b"1"
_KNOWN: Final = b"0"

logger = logging.getLogger(__name__)


class SharedTiming(BrowserTiming):
    """Takes pages' reports, and hands on those on streams of other workers.

    The name of a stream begins with the number of its worker. The page's token proves that the name is ours.

    Args:
        stall_nano: The longest gap that is no stall.
        place: This worker's.
    """

    def __init__(self, stall_nano: int, place: Place) -> None:
        super().__init__(stall_nano)
        self._place = place
        self._numbers = {str(number): number for number in range(1, place.workers + 1)}
        self._away = Repeats()

    def new_name(self) -> str:
        """Return the name of a new stream."""
        return f"{self._place.number}.{super().new_name()}"

    async def take(self, report: PageReport) -> bool:
        """Count, log and trace a report, here or where its stream was; return whether it is new."""
        number = self._worker_of(report.stream)
        if number != self._place.number:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return await self._hand_on(number, report)
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                # As with a stream of another edge: its trace gets the page's stamps, and no hop is measured.
                said = f"edge worker {number} does not take a page's report: %s"
                self._away.log(logger, logging.WARNING, said, str(error) or type(error).__name__)
        return await super().take(report)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Take meanwhile what others got for this worker."""
        listener = socket.socket(fileno=self._place.reports)
        listener.setblocking(False)
        server = await asyncio.start_unix_server(self._answer, sock=listener, limit=MAX_BYTES)
        try:
            yield
        finally:
            server.close()
            await server.wait_closed()
            self._clean_up()

    def _clean_up(self) -> None:
        """Remove what a supervisor that was killed could not remove: the last worker has the folder."""
        if os.getppid() != self._place.supervisor:
            with suppress(OSError):
                Path(report_socket(self._place.folder, self._place.number)).unlink()
                Path(self._place.folder).rmdir()

    def _worker_of(self, stream: str) -> int:
        """Return the number of a stream's worker; this one's where it is none of this edge's."""
        return self._numbers.get(stream.partition(".")[0], self._place.number)

    async def _hand_on(self, number: int, report: PageReport) -> bool:
        path = report_socket(self._place.folder, number)
        reader, writer = await asyncio.open_unix_connection(path)
        try:
            writer.write(msgspec.json.encode(report))
            writer.write_eof()
            await writer.drain()
            return await reader.readexactly(1) == _TAKEN
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(READ_S):
                encoded = await _read_all(reader)
            if encoded is None:
                logger.warning("a report that another worker hands on exceeds %d bytes: not taken", MAX_BYTES)
                return
            report = msgspec.json.decode(encoded, type=PageReport)
            writer.write(_TAKEN if await super().take(report) else _KNOWN)
            await writer.drain()
        except TimeoutError:
            logger.warning("another worker has not handed on a whole report within %g s: not taken", READ_S)
        except (msgspec.DecodeError, RecursionError) as error:
            logger.warning("a report that another worker hands on can't be read: %s", error)
        except ConnectionError:
            pass  # whoever asked has given up
        finally:
            writer.close()


async def _read_all(reader: asyncio.StreamReader) -> bytes | None:
    """Return what comes up to the end; None where that is more than a report may have."""
    try:
        await reader.readexactly(MAX_BYTES + 1)  # `read` has no bound: a stream's limit is none
    except asyncio.IncompleteReadError as whole:
        return whole.partial
    return None
