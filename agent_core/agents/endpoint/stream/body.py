"""The body of an answer: bytes in, JSON values out. No I/O.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from typing import Final

from agent_core.agents.model_failures import CUT_OFF, MALFORMED, WRONG_URL, ModelCallError


class Done:
    """The end that an endpoint tells: `data: [DONE]`."""


DONE: Final = Done()

_DONES: Final = ("[DONE]", '"[DONE]"')
"""Some say it in lower case, or as JSON."""

_KEEP_ALIVES: Final = frozenset({"ping", "keepalive", "keep-alive", "keep_alive", "heartbeat"})
"""Names of events whose data is no part of an answer."""

_QUOTED: Final = 300
"""Characters of a body that are quoted in the log."""

_DOCUMENTS: Final = {"<": WRONG_URL, "{": CUT_OFF, "[": CUT_OFF}
"""What a document is that is no JSON, by its first character: a web page, or JSON whose end is missing."""

MAX_WAITING_BYTES: Final = 64 * 1024 * 1024
"""How much may come without a value: no run may say more, and what has no end would fill the memory."""

_DECODE: Final = json.JSONDecoder(strict=False).decode
"""Lets control characters stand in strings, which some servers do not escape."""


class BodyReader:
    """Reads a body as it comes.

    More lenient than the standard, where endpoints need it:

    * A `data:` line that is JSON by itself is a whole event: some leave out the blank line after it.
    * A byte order mark, empty data, comments and keep-alives are passed over.
    * Bytes that are no UTF-8 stay in the text as `surrogateescape` writes them: half a character may follow
      in the next delta.
    * A line that begins as JSON does is data too, also outside any field; so is a body that is one JSON
      document.
    """

    def __init__(self) -> None:
        self._partial: list[bytes] = []
        self._after_cr = False
        self._event = ""
        self._data: list[str] = []
        self._document: list[str] = []
        self._read = False
        self._waiting_bytes = 0

    def feed(self, data: bytes) -> Iterator[object]:
        """Yield the JSON values that are complete now, and DONE. To be read to its end.

        Raises:
            ModelCallError: Something is no JSON. What came before it has been yielded.
        """
        if not data:
            return
        if self._after_cr:
            data = data.removeprefix(b"\n")
        for line in data.splitlines(keepends=True):
            if line[-1] not in b"\r\n":
                self._partial.append(line)
                self._waiting_bytes += len(line)
                continue
            if self._partial:
                line = b"".join((*self._partial, line))  # noqa: PLW2901 # the rest of it came before
                self._partial.clear()
            values = self._line(line.rstrip(b"\r\n"))
            if values:
                self._waiting_bytes = 0
                yield from values
            self._waiting_bytes += len(line)
        self._after_cr = data.endswith(b"\r")
        if self._waiting_bytes > MAX_WAITING_BYTES:
            raise ModelCallError(MALFORMED, f"{self._waiting_bytes} bytes without an answer in them")

    def finish(self) -> Iterator[object]:
        """Yield what the end of the body completes.

        Raises:
            ModelCallError: The body as a whole is no answer.
        """
        rest = b"".join(self._partial)
        self._partial.clear()
        if not b"data:".startswith(rest):
            yield from self._line(rest)
        cut_off = self._data and self._data[0].startswith("{")
        try:
            yield from self._dispatch()
        except ModelCallError:
            if not cut_off:
                raise
            # The answer has no end then, and that is what is told.
        if not self._read and self._document:
            yield self._whole()

    def _line(self, raw: bytes) -> list[object]:
        """Return what one line, without its end, completes."""
        if raw.startswith(b"data:"):
            return self._take(_text(raw[5:]).strip())
        if not raw:
            return self._dispatch()
        if raw.startswith(codecs.BOM_UTF8):  # Some servers send one with each line.
            return self._line(raw.removeprefix(codecs.BOM_UTF8))
        return [] if raw.startswith(b":") else self._other(_text(raw))

    def _take(self, data: str) -> list[object]:
        """Return what the value of a `data:` line completes."""
        if not data or self._event in _KEEP_ALIVES:
            return []
        if data[0] in '["' and data[:8].upper().startswith(_DONES):
            values = [*self._dispatch(), DONE]
            self._read = True
            return values
        if not self._data:
            try:
                return self._values(_DECODE(data))
            except (ValueError, RecursionError):
                pass  # Maybe the beginning of a value of several lines.
        self._data.append(data)
        return []

    def _dispatch(self) -> list[object]:
        """Return what a blank line, which ends an event, completes."""
        values: list[object] = []
        if self._data:
            text = "\n".join(self._data)
            self._data.clear()
            try:
                value = _DECODE(text)
            except (ValueError, RecursionError) as error:
                if self._event != "error":
                    raise ModelCallError(MALFORMED, f"no JSON in the stream: {_quoted(text)}") from error
                value = text
            values = self._values(value)
        self._event = ""
        return values

    def _other(self, line: str) -> list[object]:
        """Return what a line that is no data completes."""
        name, colon, value = line.partition(":")
        if name == "event" and colon:
            self._event = value.strip().lower()
        elif name == "error" and colon:
            self._event = "error"  # llama.cpp's way of telling an error in a stream
            return self._take(value.strip())
        elif name not in {"id", "retry", "data"}:
            return self._outside(line)
        return []

    def _outside(self, line: str) -> list[object]:
        """Return what a line that belongs to no event stream completes."""
        if not self._document and line.lstrip()[:1] in {"{", "["}:
            try:
                return self._values(_DECODE(line))
            except (ValueError, RecursionError):
                pass  # Maybe the beginning of a document.
        if not self._read and not line.isspace():
            self._document.append(line)
        return []

    def _values(self, value: object) -> list[object]:
        """Return a value as what it is: what an event named `error` says is one."""
        self._read = True
        if self._event == "error" and not (isinstance(value, dict) and value.get("error")):
            value = {"error": value}
        self._event = ""
        return [value]

    def _whole(self) -> object:
        """Return the JSON value of a body that is no event stream."""
        text = "\n".join(self._document)
        try:
            return _DECODE(text)
        except (ValueError, RecursionError) as error:
            kind = _DOCUMENTS.get(text.lstrip()[:1], MALFORMED)
            raise ModelCallError(kind, f"a document and no answer: {_quoted(text)}") from error


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _quoted(text: str) -> str:
    return " ".join(text[:_QUOTED].encode("utf-8", "replace").decode().split())
