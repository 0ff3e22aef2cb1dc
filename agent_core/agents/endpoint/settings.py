"""The configured model's settings, read from `TOKENWIRE_MODEL…`."""

from __future__ import annotations

import os
import unicodedata
from typing import Final
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

_AROUND: Final = " \t\r\n\v\f\0\u00a0\u200b\u200c\u200d\u2028\u2029\u2060\ufeff"
"""White space and invisible characters, which editors and terminals put around a key."""


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
    """The base URL of an endpoint that speaks OpenAI's Chat Completions, such as
    `http://127.0.0.1:11434/v1`. Unset: the embedded model."""

    name: str | None = Field(default=None, validation_alias="TOKENWIRE_MODEL")
    """The model's name at the endpoint. Unset: the only one that the endpoint lists."""

    key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("TOKENWIRE_MODEL_KEY", "OPENAI_API_KEY")
    )
    """The endpoint's API key. TOKENWIRE_MODEL_KEY counts before OPENAI_API_KEY; set to nothing, it keeps
    that one from being sent to a server that is not meant to have it."""

    max_tokens: int | None = Field(default=None, ge=1)
    """The longest answer of one model call, in tokens. Unset: the endpoint decides."""

    tools: bool = True
    """Whether the model is offered tools: the portfolio queries and a calculator. Some models can't use any,
    and some endpoints refuse a request that offers them."""

    usage: bool = True
    """Whether the endpoint is asked for the usage of its answers, with `stream_options`. Off for one that
    refuses the question without naming it; one that names it is asked without from then on by itself."""

    thinks_first: bool = False
    """Whether the model's answers begin with its thoughts, without `<think>`: some chat templates write that
    tag into the prompt, and only `</think>` comes. Everything before it is reasoning then."""

    narrates: bool = True
    """Whether the model words the sections of the portfolio report, from computed figures. Off, and with the
    embedded model, a template does."""

    max_tool_calls: int = Field(default=8, ge=0)
    """How many tool calls a run may have. One that wants more ends with the finish reason `tool_limit`."""

    tool_timeout_s: float = Field(default=30.0, gt=0)
    """How long one tool call may take, in seconds."""

    stall_s: float = Field(default=60.0, gt=0)
    """How long the endpoint may take to the next chunk of its answer, the first one included, in seconds.
    A model that thinks for minutes before its first word needs more."""

    connect_s: float = Field(default=10.0, gt=0)
    """How long connecting may take, in seconds."""

    retries: int = Field(default=2, ge=0, le=10)
    """How many more times a run's first model call is made when it fails before the first chunk: nobody
    listens, too many requests, the server's own failure."""

    retry_s: float = Field(default=20.0, ge=0)
    """How long those attempts may go on, in seconds. An endpoint that asks for a longer pause is not asked
    again."""

    @field_validator("key", mode="before")
    @classmethod
    def _sound_key(cls, key: object) -> object:
        """Return the key when HTTP can carry it."""
        wrong = next((each for each in key if not "!" <= each <= "~"), None) if isinstance(key, str) else None
        if isinstance(key, str) and wrong is not None:
            place = f"character {key.index(wrong) + 1} of {len(key)}"
            raise ValueError(f"the key{_source()} contains {_named(wrong)}, {place}: copy it again")
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
        """Return a text without the key: a server may quote it."""
        key = self.key.get_secret_value() if self.key else ""
        return text.replace(key, "***") if key else text


def _source() -> str:
    """Return which variable the key is from, where it is not the one that its field is named after."""
    other = "TOKENWIRE_MODEL_KEY" not in os.environ and "OPENAI_API_KEY" in os.environ
    return " in OPENAI_API_KEY" if other else ""


def _named(character: str) -> str:
    """Return the name of a character that may be invisible."""
    name = unicodedata.name(character, "a control character").lower()
    return f"{name} (U+{ord(character):04X})"
