"""Tool calls, put together by what identifies them. No I/O.

OpenAI's API tells a call's id and name in its first delta, and in all of them the call's `index`. What others
do: repeat id and name in each delta; give all calls the index 0; tell no ids; tell one id at two indices, or
two calls by one id; make a new id for each delta; send the arguments again from their beginning, as an
object, or as `{}` first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from agent_core.agents.model_failures import MALFORMED, ModelCallError
from agent_core.agents.split_characters import CharacterJoiner

_JSON_MARKS: Final = re.compile(r'\\.?|["{}\[\]]', re.DOTALL)
_PLACEHOLDER: Final = "{}"
"""What some endpoints send before the arguments. A call without arguments is one with this."""

_BEGUN: Final = 3
"""Characters of an object after which the same characters again are its beginning, told again."""


MAX_CHARACTERS: Final = 16 * 1024 * 1024
"""How long the calls of one answer may be together. Nothing of a call is told before it is complete, so the
limit of what a run may say does not end one without an end."""


class _Call:
    """One call, as far as it has come."""

    def __init__(self, index: int, call_id: str, given_id: str) -> None:
        self.index = index
        self.call_id = call_id
        """Its id, which no other call of the answer has."""
        self.given_id = given_id
        """Its id in the endpoint's words."""
        self.name = ""
        self.length = 0
        """Of the arguments so far, in characters."""
        self.placeholder = False
        self.joiner = CharacterJoiner()
        self._pieces: list[str] = []
        self._unscanned: list[str] = []
        self._depth = 0
        self._opened = False
        self._in_string = False

    def add(self, arguments: str) -> None:
        """Take another piece of the arguments."""
        self._pieces.append(arguments)
        self._unscanned.append(arguments)
        self.length += len(arguments)

    def is_complete(self) -> bool:
        """Return whether the arguments so far are a whole JSON object. Looks at each character once."""
        marks = _JSON_MARKS.findall("".join(self._unscanned))
        self._unscanned.clear()
        for mark in marks:
            if mark == '"':
                self._in_string = not self._in_string
            elif not self._in_string and mark in "{[":
                self._depth += 1
                self._opened = True
            elif not self._in_string and mark in "}]":
                self._depth -= 1
        if marks and marks[-1] == "\\":
            self._unscanned.append("\\")  # What it escapes is still to come.
        return self._opened and self._depth <= 0

    def new_in(self, arguments: str) -> str:
        """Return what is new in a piece: all of it, unless it begins with all that came before."""
        if self.length < _BEGUN or len(arguments) < self.length or not arguments.startswith("{"):
            return arguments
        self._pieces = ["".join(self._pieces)]
        return arguments.removeprefix(self._pieces[0])


class ToolCallAssembler:
    """Tells which call of an answer a delta belongs to, and gives each call an index of its own."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_id: dict[str, _Call] = {}
        self._by_index: dict[int, _Call] = {}
        self._ids: set[str] = set()
        self._length = 0
        """Of all ids, names and arguments that are kept, in characters."""
        self._halves: dict[int, _Call] = {}
        """The calls whose arguments end in half a character, by their index."""

    @property
    def called(self) -> bool:
        """Whether there was a call."""
        return bool(self._calls)

    def feed(self, given: object) -> list[dict[str, Any]]:
        """Return the deltas of a chunk as OpenAI's API has them; none where nothing is new.

        Raises:
            ModelCallError: The calls are longer than any can be.
        """
        told: list[dict[str, Any]] = []
        named: set[_Call] = set()
        for delta in given if isinstance(given, list) else [given]:
            if isinstance(delta, Mapping):
                new = self._delta(delta, named)
                if new is not None:
                    told.append(new)
        return told

    def flush(self) -> list[dict[str, Any]]:
        """Return deltas for what still waits: halves of characters without the other half."""
        held, self._halves = self._halves, {}
        return [_told(call, "", call.joiner.flush(), {}) for call in held.values()]

    def _delta(self, delta: Mapping[str, Any], named: set[_Call]) -> dict[str, Any] | None:
        """Return what is new in a delta.

        Args:
            delta: The delta.
            named: The calls that the same chunk has named already: one chunk names none twice.
        """
        function = delta.get("function")
        function = function if isinstance(function, Mapping) else delta
        given_id, name = _text(delta.get("id")), _text(function.get("name"))
        index, arguments = _index(delta.get("index")), _arguments(function.get("arguments"))
        known = len(self._calls)
        call = self._find(index, given_id, name, arguments)
        if call is not None and name and call in named and (index is None or not given_id):
            call = None
        if call is None:
            if not given_id or given_id in self._by_id:
                # A name that was told before the arguments has looked like the former call's, told again.
                name = name or self._name_at(index)
            call = self._start(given_id)
        elif given_id and not call.given_id:
            call.given_id, call.call_id = given_id, self._own_id(given_id, call.index)
        if given_id:
            self._by_id[given_id] = call
        if index is not None:
            self._by_index[index] = call
        if name:
            named.add(call)
        new_name, rest = _new_name(call, name), self._new_arguments(call, arguments)
        self._length += len(new_name) + len(rest) + (len(call.call_id) if len(self._calls) > known else 0)
        if self._length > MAX_CHARACTERS:
            raise ModelCallError(MALFORMED, f"tool calls of more than {MAX_CHARACTERS} characters")
        if not new_name and not rest and len(self._calls) == known:
            return None
        return _told(call, new_name, rest, delta)

    def _find(self, index: int | None, given_id: str, name: str, arguments: str) -> _Call | None:
        """Return the call that a delta goes on with; None when it begins another one."""
        last = self._calls[-1] if self._calls else None
        at = last if index is None else self._by_index.get(index)
        if given_id and (at is None or at.given_id != given_id):
            same = self._by_id.get(given_id)
            if same is None:
                return at if at is not None and _takes_new_id(at, name, arguments) else None
            at = same
        if at is None:
            return None if name or given_id else last
        return None if _is_another(at, given_id, name, arguments) else at

    def _name_at(self, index: int | None) -> str:
        """Return the name of the last call at an index; empty where there is none."""
        last = self._calls[-1] if self._calls else None
        call = last if index is None else self._by_index.get(index, last)
        return call.name if call is not None else ""

    def _start(self, given_id: str) -> _Call:
        """Return a new call."""
        index = len(self._calls)
        call = _Call(index, self._own_id(given_id, index), given_id)
        self._calls.append(call)
        return call

    def _own_id(self, given_id: str, index: int) -> str:
        """Return a call's id: that of the endpoint, or one made of it where another call has it."""
        call_id = given_id
        while call_id in self._ids:
            call_id = f"{call_id}-{index + 1}"
        if call_id:
            self._ids.add(call_id)
        return call_id

    def _new_arguments(self, call: _Call, arguments: str) -> str:
        """Return what is new in a call's arguments, and keep it."""
        if not call.length and arguments.strip() == _PLACEHOLDER:
            call.placeholder = True
            return ""
        rest = call.new_in(arguments)
        if rest:
            call.add(rest)
        told = call.joiner.feed(rest)
        if call.joiner.holds:
            self._halves[call.index] = call
        else:
            self._halves.pop(call.index, None)
        return told


def _takes_new_id(call: _Call, name: str, arguments: str) -> bool:
    """Return whether a delta with an id that no call has goes on with the call at its index all the same."""
    complete = call.is_complete()
    if not call.given_id:
        return name in {"", call.name} and not (arguments and complete)  # Its id comes late.
    if not name:
        return not arguments or not complete  # Each delta has an id of its own.
    begun = call.length > 0 and not complete
    goes_on = arguments != "" and not arguments.lstrip().startswith("{")
    return name == call.name and begun and goes_on


def _is_another(call: _Call, given_id: str, name: str, arguments: str) -> bool:
    """Return whether a delta that seems to be of a call begins another one."""
    if name and call.name and name != call.name:
        if given_id:
            return not name.startswith(call.name)
        # The next piece of its name, where nothing else has come.
        return bool(call.length or arguments or call.placeholder)
    if not arguments.lstrip().startswith("{") or not call.is_complete():
        return False
    return call.new_in(arguments) == arguments


def _new_name(call: _Call, name: str) -> str:
    """Return what is new in a call's name, and keep it."""
    new = "" if name == call.name else name.removeprefix(call.name)
    call.name += new
    return new


def _told(call: _Call, name: str, arguments: str, delta: Mapping[str, Any]) -> dict[str, Any]:
    """Return a delta as OpenAI's API has it."""
    told: dict[str, Any] = {
        "index": call.index,
        "id": call.call_id or None,
        "type": "function",
        "function": {"name": name or None, "arguments": arguments or None},
    }
    extra = delta.get("extra_content")  # Gemini's signature of a thought, which it wants back.
    return {**told, "extra_content": extra} if extra else told


def _arguments(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _text(value: object) -> str:
    """Return an id or a name; empty for none."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _index(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None
