"""The configured model's settings, read from `TOKENWIRE_MODEL…`."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


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

    tools: bool = True
    """Whether the model is offered tools: the portfolio queries and a calculator. Some models can't use
    tools, and some endpoints refuse requests that offer them."""

    narrates: bool = True
    """Whether the model writes the text of the portfolio report's sections, from computed figures. If off,
    and with the embedded model, a template is used."""

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

    @field_validator("url", "name", "key", "max_tokens", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        """Return None for the empty text: that is how a variable is unset in a compose file."""
        return None if value == "" else value

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
