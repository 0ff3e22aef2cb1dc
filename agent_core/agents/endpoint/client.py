"""The HTTP client of the endpoint, and the question which models it has."""

from __future__ import annotations

import json
import logging
from typing import Final

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError, AsyncOpenAI

from agent_core.agents.endpoint.settings import EndpointSettings
from agent_core.agents.endpoint.stream.decoder import EndpointClient
from agent_core.agents.model_failures import (
    AWAY,
    KEY_REFUSED,
    MALFORMED,
    MAX_SAID,
    NOT_ALLOWED,
    NOT_CHOSEN,
    TIMED_OUT,
    WRONG_URL,
    Kind,
    ModelCallError,
)
from agent_core.agents.pydantic_ai.errors import redirection
from tokenwire.addresses import unproxied

MAX_CONNECTIONS: Final = 1000
"""As many as the OpenAI library allows itself. httpx's own 100 would hold back the 101st run."""

NO_KEY: Final = "none"
"""Sent as the key where there is none: the library insists on one, and servers without keys ignore it."""

_REFUSED: Final = {401: KEY_REFUSED, 403: NOT_ALLOWED}

log = logging.getLogger(__name__)


def make_client(settings: EndpointSettings) -> AsyncOpenAI:
    """Return a client of the endpoint. It never tries again by itself, and never follows a redirection."""
    for name, level in (("httpx2", logging.WARNING), ("openai", logging.INFO)):
        # One line a request, and at `debug` all that users say: neither belongs into the core's log.
        if logging.getLogger(name).level == logging.NOTSET:
            logging.getLogger(name).setLevel(level)
    http_client = httpx2.AsyncClient(
        # Reading has no limit of its own: EndpointModel counts chunks, which keep-alive comments are not.
        timeout=httpx2.Timeout(None, connect=settings.connect_s),
        limits=httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=100),
        follow_redirects=False,
        mounts=unproxied(settings.url or ""),
    )
    client = EndpointClient(
        base_url=settings.url,
        api_key=settings.key.get_secret_value() if settings.key else NO_KEY,
        max_retries=0,
        http_client=http_client,
    )
    client.thinks_first = settings.thinks_first
    return client


async def list_models(client: AsyncOpenAI, settings: EndpointSettings) -> list[str]:
    """Return the names of the endpoint's models; none when it does not tell.

    Raises:
        ModelCallError: The endpoint can't be used.
    """
    text = ""
    try:
        text = (await client.models.with_raw_response.list(timeout=settings.connect_s)).text
        return [model["id"] for model in json.loads(text)["data"] if isinstance(model["id"], str)]
    except APIError as error:
        kind = _kind_of(error)
        said = settings.hide(redirection(error) or " ".join(str(error).split()))
    except (LookupError, TypeError, ValueError) as error:
        kind = WRONG_URL if text.lstrip().startswith("<") else MALFORMED
        said = settings.hide(f"{type(error).__name__}: {error}: {' '.join(text[:MAX_SAID].split())}")
    if kind is None:
        log.info("%s does not list its models: %s", settings.url, said)
        return []
    log.warning("the models of %s can't be listed: %s", settings.url, said)
    raise ModelCallError(kind)


def choose_model(known: list[str], settings: EndpointSettings) -> str:
    """Return the name of the model to call: the configured one, or the only one that there is.

    A configured one that the endpoint does not list may be one that it has: some leave out tags and aliases.

    Raises:
        ModelCallError: None is configured and there is not just one.
    """
    name, listed = settings.name, ", ".join(known)
    if name is not None:
        if known and name not in known and f"{name}:latest" not in known:
            log.warning("%s does not list the model %s, but: %s", settings.url, name, listed)
        return name
    if len(known) == 1:
        return known[0]
    log.error("%s lists %d models. Set TOKENWIRE_MODEL to one of them: %s", settings.url, len(known), listed)
    raise ModelCallError(NOT_CHOSEN)


def _kind_of(error: APIError) -> Kind | None:
    """Return how asking failed; None when the endpoint has an answer to other questions, but not to this."""
    if isinstance(error, APITimeoutError):
        return TIMED_OUT
    if isinstance(error, APIConnectionError):
        return AWAY
    if isinstance(error, APIStatusError):
        server_error = 500
        if redirection(error):
            return WRONG_URL
        return _REFUSED.get(error.status_code) or (AWAY if error.status_code >= server_error else None)
    return MALFORMED
