"""A scripted OpenAI-compatible endpoint: a fake at the rim, behind a real socket and real HTTP.

Each model call takes the next step of the script. What is tested is everything on this side of the socket.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeAlias

MODEL = "scripted-1"
KEY = "sk-very-secret-0123456789"


@dataclass
class Exchange:
    """One request and the way to answer it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: Any
    writer: asyncio.StreamWriter

    async def head(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", f"content-type: {kind}", "connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode())

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def chunk(self, **delta: Any) -> None:
        """Send one chunk with a delta."""
        finish = delta.pop("finish_reason", None)
        await self.data({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    async def data(self, chunk: Any) -> None:
        base = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        text = json.dumps({**base, **chunk}) if isinstance(chunk, Mapping) else chunk
        await self.send(f"data: {text}\n\n".encode())

    async def finish(self, reason: str = "stop", tokens: tuple[int, int] | None = (7, 3)) -> None:
        await self.chunk(finish_reason=reason)
        if tokens is not None:
            used = {"prompt_tokens": tokens[0], "completion_tokens": tokens[1], "total_tokens": sum(tokens)}
            await self.data({"choices": [], "usage": used})
        await self.data("[DONE]")


Step: TypeAlias = Callable[[Exchange], Awaitable[None]]


def says(*pieces: str, reason: str = "stop", before_s: float = 0.0, **more: Any) -> Step:
    """Return a step that answers with text, after a while."""

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        await exchange.chunk(role="assistant", content="")
        await asyncio.sleep(before_s)
        for piece in pieces:
            await exchange.chunk(content=piece)
        await exchange.finish(reason, **more)

    return step


def calls(*tools: tuple[str, str], text: str = "") -> Step:
    """Return a step that answers with calls of tools, each with its arguments as JSON text."""

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        if text:
            await exchange.chunk(content=text)
        for index, (name, arguments) in enumerate(tools):
            half = len(arguments) // 2
            call = {"index": index, "id": f"call_{index}", "type": "function"}
            given = {"name": name, "arguments": arguments[:half]}
            await exchange.chunk(tool_calls=[{**call, "function": given}])
            rest = {"arguments": arguments[half:]}
            await exchange.chunk(tool_calls=[{"index": index, "function": rest}])
        await exchange.finish("tool_calls")

    return step


def refuses(status: int, error: Any = None, **headers: str) -> Step:
    """Return a step that answers with an HTTP error."""

    async def step(exchange: Exchange) -> None:
        await exchange.head(status, "application/json", **headers)
        body = error if error is not None else {"message": f"internal words of the provider, {KEY}"}
        await exchange.send(json.dumps({"error": body}).encode())

    return step


def hangs_up(*pieces: str) -> Step:
    """Return a step that says something and then breaks the connection off in the middle of a chunk."""

    async def step(exchange: Exchange) -> None:
        await exchange.head(transfer_encoding="chunked")
        for piece in pieces:
            line = f'data: {{"choices":[{{"index":0,"delta":{{"content":"{piece}"}}}}]}}\n\n'.encode()
            await exchange.send(b"%x\r\n%b\r\n" % (len(line), line))
        await exchange.send(b"ff\r\ndata: {")

    return step


def just_ends(*pieces: str) -> Step:
    """Return a step that says something and ends in order, without a finish reason."""

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        for piece in pieces:
            await exchange.chunk(content=piece)

    return step


def sends(*data: str, then: Sequence[str] = ()) -> Step:
    """Return a step that says something, and then what is given, as it is."""

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        for piece in then:
            await exchange.chunk(content=piece)
        for line in data:
            await exchange.data(line)
        await exchange.finish()

    return step


def responds(text: str, ending: str, **response: Any) -> Step:
    """Return a step that answers as OpenAI's Responses do: a text, and an end such as `incomplete`."""

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        whole: dict[str, Any] = {
            "id": "r1",
            "object": "response",
            "created_at": 1,
            "model": MODEL,
            "output": [],
        }
        whole |= {"parallel_tool_calls": False, "tool_choice": "auto", "tools": [], "status": "in_progress"}
        delta = {"item_id": "m1", "output_index": 0, "content_index": 0, "delta": text, "logprobs": []}
        said = {"type": "output_text", "text": text, "annotations": []}
        message = {"id": "m1", "type": "message", "role": "assistant", "status": ending, "content": [said]}
        end = {**whole, "status": ending, "output": [message], **response}
        for number, (kind, fields) in enumerate(
            [("created", {"response": whole}), ("output_text.delta", delta), (ending, {"response": end})]
        ):
            event = {"type": f"response.{kind}", "sequence_number": number, **fields}
            await exchange.send(f"event: response.{kind}\ndata: {json.dumps(event)}\n\n".encode())

    return step


def stalls(*pieces: str, comments: bool = False) -> Step:
    """Return a step that says something and then nothing more, but for comments."""

    async def step(exchange: Exchange) -> None:
        await exchange.head()
        for piece in pieces:
            await exchange.chunk(content=piece)
        while True:
            await asyncio.sleep(0.05)
            if comments:
                await exchange.send(b": still here\n\n")

    return step


@dataclass
class Endpoint:
    """A running endpoint."""

    url: str = ""
    script: list[Step] = field(default_factory=list)
    """What the next model calls get."""
    models: Any = field(default_factory=lambda: {"object": "list", "data": [{"id": MODEL}]})
    """What it says that it has."""
    listing: Step | None = None
    """What it does instead when it is asked for them."""
    asked: list[Exchange] = field(default_factory=list)
    """The model calls so far."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a client has left before its answer was complete."""

    def messages(self, call: int = -1) -> list[dict[str, Any]]:
        """Return the messages of a model call."""
        given: list[dict[str, Any]] = self.asked[call].body["messages"]
        return given

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            exchange = await _read(reader, writer)
            if exchange.path.endswith("/models") and self.listing is not None:
                await self.listing(exchange)
            elif exchange.path.endswith("/models"):
                await exchange.head(kind="application/json")
                await exchange.send(json.dumps(self.models).encode())
            else:
                self.asked.append(exchange)
                await self._answer(exchange, reader)
        writer.close()

    async def _answer(self, exchange: Exchange, reader: asyncio.StreamReader) -> None:
        answering = asyncio.ensure_future(self.script.pop(0)(exchange))
        leaving = asyncio.ensure_future(reader.read(1))
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            self.gone.set()
        for task in (answering, leaving):
            task.cancel()
        await asyncio.gather(answering, leaving, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Exchange(method, path, headers, json.loads(body or b"null"), writer)


@asynccontextmanager
async def running_endpoint(*script: Step) -> AsyncIterator[Endpoint]:
    """Serve a script on a loopback port."""
    endpoint = Endpoint(script=list(script))
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    endpoint.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield endpoint
    finally:
        server.close()
