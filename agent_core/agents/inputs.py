"""Questions of an agent to a person: what may be asked, and who passes it on. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Protocol, TypeAlias, get_args

import msgspec

InputKind: TypeAlias = Literal["approval", "choice", "text", "json"]

KINDS: Final = get_args(InputKind)

DEFAULT_TIMEOUT_S: Final = 300.0
"""How long a question waits where the agent does not say."""

MAX_PROMPT_BYTES: Final = 16 * 1024
MAX_OPTIONS: Final = 100
MAX_OPTION_BYTES: Final = 1024
MAX_SCHEMA_BYTES: Final = 64 * 1024
"""The largest question, in bytes of UTF-8. It is shown to a person, and kept with the run's events."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, checked. Made by `make_question`."""

    kind: InputKind
    prompt: str
    schema: Mapping[str, Any] | None
    """A JSON Schema of the answer; `{"enum": options}` for a choice; None if any value is accepted."""
    schema_json: str
    """The same as JSON text; empty for None."""
    timeout_s: float
    """How long it waits for an answer, in seconds."""

    def within(self, most_s: float) -> Question:
        """Return the question; where it would wait longer than a time in seconds, one that waits as long."""
        return self if self.timeout_s <= most_s else replace(self, timeout_s=most_s)


class InputPort(Protocol):
    """The way from an agent to the people who follow its run."""

    async def ask(self, question: Question) -> Any:
        """Return the value that was sent; None where the question was declined. For any event loop.

        Raises:
            InputExpired: No answer came in time.
        """

    def ask_blocking(self, question: Question) -> Any:
        """Return the same, to code in a thread: it waits."""

    def deadline(self) -> float:
        """Return when the run must have ended, as things stand, in seconds of the monotonic clock."""


def make_question(
    prompt: str,
    kind: str = "approval",
    *,
    options: Iterable[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    timeout_s: float = DEFAULT_TIMEOUT_S,
) -> Question:
    """Return a question.

    Args:
        prompt: What is asked, in words for users.
        kind: approval, choice, text or json.
        options: The answers of a choice; at least one.
        schema: A JSON Schema of the answer, for `json` only.
        timeout_s: How long it waits for an answer, in seconds.

    Raises:
        ValueError: It can't be asked like that.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}: use one of {', '.join(KINDS)}")
    if (kind == "choice") != (options is not None):
        raise ValueError("a choice needs options" if options is None else f"{kind} takes no options")
    if schema is not None and kind != "json":
        raise ValueError(f"{kind} takes no schema: only json does")
    if not isinstance(prompt, str) or not prompt.strip():
        raise ValueError("prompt must be a text that is not empty")
    _require_size("prompt", prompt, MAX_PROMPT_BYTES)
    if isinstance(timeout_s, bool) or not math.isfinite(timeout_s) or timeout_s <= 0:
        raise ValueError(f"timeout_s is {timeout_s!r}: use a number of seconds above 0")
    if options is not None:
        schema = {"enum": _checked_options(options)}
    return Question(kind, prompt, schema, _schema_json(schema), float(timeout_s))  # type: ignore[arg-type] # a kind


def _checked_options(options: Iterable[str]) -> list[str]:
    """Return the options of a choice."""
    if isinstance(options, str):
        raise ValueError("options must be a list of texts, not one text")  # noqa: TRY004 # as all else here
    listed = list(options)
    if not 1 <= len(listed) <= MAX_OPTIONS:
        raise ValueError(f"options must be 1 to {MAX_OPTIONS} texts, not {len(listed)}")
    for option in listed:
        if not isinstance(option, str) or not option:
            raise ValueError("each option must be a text that is not empty")
        _require_size("an option", option, MAX_OPTION_BYTES)
    if len(set(listed)) < len(listed):
        raise ValueError("options must differ from each other")
    return listed


def _schema_json(schema: Mapping[str, Any] | None) -> str:
    """Return a schema as JSON text."""
    if schema is None:
        return ""
    if not isinstance(schema, Mapping):
        raise ValueError("schema must be a JSON Schema as a dict")  # noqa: TRY004 # as all else here
    try:
        text = msgspec.json.encode(dict(schema)).decode()
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"schema is not JSON: {error}") from error
    _require_size("schema", text, MAX_SCHEMA_BYTES)
    return text


def _require_size(name: str, text: str, most_bytes: int) -> None:
    """Return if a text may be so long.

    Raises:
        ValueError: It may not, or UTF-8 can't hold it (UnicodeEncodeError is one).
    """
    size_bytes = len(text.encode())
    if size_bytes > most_bytes:
        raise ValueError(f"{name} has {size_bytes} bytes of UTF-8: use at most {most_bytes}")
