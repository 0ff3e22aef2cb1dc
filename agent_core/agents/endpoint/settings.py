"""The configured model's settings, read from `TOKENWIRE_MODEL…`."""

from __future__ import annotations

import os
import unicodedata
from typing import Final
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent_core.agents.loading import TOOLS, AgentLoadError, parse_sources

_AROUND: Final = " \t\r\n\v\f\0\u00a0\u200b\u200c\u200d\u2028\u2029\u2060\ufeff"
"""White space and invisible characters, which editors and terminals put around a key."""

CALCULATOR: Final = "calculator"
"""The tool set of the default."""

_OFF: Final = frozenset({"0", "false", "no", "off"})
_ON: Final = frozenset({"1", "true", "yes", "on"})

SHORTEST_CUT: Final = 4
"""Characters of a key at the end of a text that are taken for its beginning: `sk-` is no secret."""


class EndpointSettings(BaseSettings):
    """Which model `assistant` calls, and how."""

    model_config = SettingsConfigDict(
        env_prefix="TOKENWIRE_MODEL_",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        # A key that was put into the wrong variable must not be quoted in an error.
        hide_input_in_errors=True,
    )

    url: str | None = None
    """Base URL of an endpoint that speaks OpenAI's Chat Completions, such as `http://127.0.0.1:11434/v1`. If
    unset, the embedded model is used."""

    name: str | None = Field(default=None, validation_alias="TOKENWIRE_MODEL")
    """Name of the model at the endpoint. If unset, the only one that the endpoint lists."""

    key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("TOKENWIRE_MODEL_KEY", "OPENAI_API_KEY")
    )
    """API key of the endpoint. TOKENWIRE_MODEL_KEY has precedence over OPENAI_API_KEY. Set it to the empty
    text to keep OPENAI_API_KEY from being sent to this endpoint."""

    max_tokens: int | None = Field(default=None, ge=1)
    """Maximum length of the answer of one model call, in tokens. If unset, the endpoint decides."""

    tools: str = CALCULATOR
    """Tool sets that the model is offered, separated by whitespace: `calculator`, names that installed
    packages offer, or `name=package.module:attribute`. `off` for no tools: some models can't use them, and
    some endpoints refuse requests that offer them."""

    usage: bool = True
    """Whether the endpoint is asked for the usage of its answers, with `stream_options`. Turn it off if the
    endpoint refuses such requests without naming `stream_options`; if it names it, the request is repeated
    without it."""

    thinks_first: bool = False
    """Whether answers begin with the model's reasoning, without a `<think>` tag. Turn it on if the model's
    chat template writes that tag into the prompt, so that only `</think>` is streamed."""

    max_tool_calls: int = Field(default=8, ge=0)
    """Maximum number of tool calls of a run. A run that requests more ends with the finish reason
    `tool_limit`."""

    tool_timeout_s: float = Field(default=30.0, gt=0)
    """Maximum duration of one tool call, in seconds."""

    stall_s: float = Field(default=60.0, gt=0)
    """How long the endpoint may take to send the next chunk of its answer, including the first, in seconds.
    Increase it for a model that thinks for minutes before its first word."""

    connect_s: float = Field(default=10.0, gt=0)
    """How long connecting may take, in seconds."""

    retries: int = Field(default=2, ge=0, le=10)
    """How often the first model call of a run is retried if it fails before the first chunk: connection
    refused, too many requests, or an error of the server."""

    retry_s: float = Field(default=20.0, ge=0)
    """How long these retries may take in all, in seconds. If the endpoint asks for a longer pause, it is not
    called again."""

    @field_validator("key", mode="before")
    @classmethod
    def _sound_key(cls, key: object) -> object:
        """Return the key when HTTP can carry it."""
        wrong = next((each for each in key if not "!" <= each <= "~"), None) if isinstance(key, str) else None
        if isinstance(key, str) and wrong is not None:
            place = f"character {key.index(wrong) + 1} of {len(key)}"
            raise ValueError(f"the API key{_source()} contains {_named(wrong)} ({place}); copy it again")
        return key

    @field_validator("url", "name", "key", "max_tokens", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """Return a value without what a file or a terminal has put around it.

        None for the empty text: that is how a variable is unset in a compose file.
        """
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        return value.strip(_AROUND) or None if isinstance(value, str) else value

    @field_validator("tools")
    @classmethod
    def _known_tools(cls, value: str) -> str:
        """Return the names of tool sets, all of them known; empty for no tools."""
        word = value.strip().lower()
        # Empty is unset, as with the others: so a compose file unsets a variable.
        value = "" if word in _OFF else CALCULATOR if word in _ON or not word else value
        try:
            parse_sources(value, TOOLS)
        except AgentLoadError as error:
            raise ValueError(str(error)) from error
        return value

    @field_validator("url")
    @classmethod
    def _sound_url(cls, url: str | None) -> str | None:
        """Return the URL when it is a base URL."""
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            sound = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            sound = False
        if not sound:
            raise ValueError("this must be a URL such as https://host/v1")
        if "@" in parts.netloc:
            raise ValueError("a key does not belong into the URL: it goes into TOKENWIRE_MODEL_KEY")
        if parts.query or parts.fragment:
            raise ValueError("a base URL has no ? and no #")
        return url

    def hide(self, text: str) -> str:
        """Return a text without the key, which a server may quote, also where the text is cut inside it."""
        key = self.key.get_secret_value() if self.key else ""
        if not key:
            return text
        text = text.replace(key, "***")
        cut = next(
            (size for size in range(len(key) - 1, SHORTEST_CUT - 1, -1) if text.endswith(key[:size])), 0
        )
        return text[:-cut] + "***" if cut else text


def _source() -> str:
    """Return which variable the key is from, where it is not the one that its field is named after."""
    other = "TOKENWIRE_MODEL_KEY" not in os.environ and "OPENAI_API_KEY" in os.environ
    return " in OPENAI_API_KEY" if other else ""


def _named(character: str) -> str:
    """Return the name of a character that may be invisible."""
    name = unicodedata.name(character, "a control character").lower()
    return f"{name} (U+{ord(character):04X})"
