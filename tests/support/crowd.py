"""Many clients of an edge at once, in this event loop: each reads one stream to its end."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

WITHIN_S: Final = 120.0
AT_ONCE: Final = 20
"""How many begin at the same time: a crowd does not come within one millisecond."""


@dataclass
class Crowd:
    """What became of the streams.

    Args:
        url: The edge.
        message: What each asks the agent `pace`.
    """

    url: str
    message: str
    open: int = 0
    """How many have begun and not ended."""
    most_open: int = 0
    """The most that were open at once."""
    whole: int = 0
    """How many came to their good end."""
    trace_ids: list[str] = field(default_factory=list)

    async def stream(self, count: int) -> None:
        """Read so many streams at the same time."""
        self._gate = asyncio.Semaphore(AT_ONCE)
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(self._one(number))

    async def _one(self, number: int) -> None:
        at = urlsplit(self.url)
        body = json.dumps({"message": self.message, "sessionId": f"crowd{number}", "agent": "pace"}).encode()
        async with self._gate:
            reader, writer = await asyncio.open_connection(at.hostname, at.port)
            head = f"POST /api/chat HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/json\r\n"
            writer.write(f"{head}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        assert answer.startswith("http/1.1 200"), answer
        self.trace_ids.append(answer.partition("traceparent: ")[2].split("-")[1])
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        end = b""
        while piece := await reader.read(65_536):
            end = (end + piece)[-4_096:]
        self.open -= 1
        self.whole += b'"type":"done"' in end
        writer.close()
