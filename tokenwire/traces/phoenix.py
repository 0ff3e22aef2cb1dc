"""Traces from a Phoenix server, by its REST API.

Phoenix keeps no links, kinds and resources of spans, and times to the microsecond; tokens' stamps are
attributes, and whole.

Source: https://arize.com/docs/phoenix/sdk-api-reference/rest-api/overview
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx

from tokenwire.addresses import is_loopback
from tokenwire.telemetry import attributes as names
from tokenwire.traces.errors import UnreachableError
from tokenwire.traces.source import Candidate, Found, Head, head_of, is_stream_root, may_be_trace_id
from tokenwire.traces.spans import Span

DEFAULT_PROJECT: Final = "default"
PAGE_SPANS: Final = 1_000
"""The most that a page may have."""

MOST_PAGES: Final = 50
"""How many pages of a list are looked through for a shortened id or for the newest streams."""

TIMEOUT_S: Final = 30.0
TRACE_ID_DIGITS: Final = 32
NOT_FOUND: Final = 404

_EPOCH: Final = dt.datetime.fromtimestamp(0, dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_NS_PER_US: Final = 1_000


class Phoenix:
    """A source of traces.

    Args:
        url: The server, such as http://127.0.0.1:6006.
        project: The project that the spans were put into.
        api_key: The key of a server that wants one.
    """

    def __init__(self, url: str, project: str = DEFAULT_PROJECT, api_key: str = "") -> None:
        self._url = url.rstrip("/")
        self._project = project
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        # The proxy of the environment is not asked to reach a server on this machine.
        self._trust_env = not is_loopback(httpx.URL(self._url).host)

    def candidates(self, wanted: str) -> Mapping[str, Candidate]:
        """Return the traces whose id begins with a text, or one of whose run ids it is."""
        found: dict[str, Candidate] = {}
        with self._client() as client:
            # A run id is looked up whole: the server finds no beginnings. Quoted, or 123 would be a number.
            query = {"attribute": f"{names.RUN_ID}:{json.dumps(wanted)}"}
            for span in self._spans(client, query):
                found.setdefault(span.trace_id, Candidate(span.trace_id)).add(span)
            if not found and may_be_trace_id(wanted):
                found = {
                    trace_id: Candidate(trace_id) for trace_id in self._trace_ids(client, wanted.lower())
                }
            if len(found) == 1:
                (candidate,) = found.values()
                for span in self._spans(client, {"trace_id": candidate.trace_id}):
                    candidate.add(span)
        return found

    def trace(self, chosen: Candidate) -> Found:
        """Return a trace, and the other streams of its runs."""
        with self._client() as client:
            spans = list(self._spans(client, {"trace_id": chosen.trace_id}))
            others = [
                head_of(span)
                for run_id in sorted(chosen.run_ids)
                for span in self._spans(client, {"attribute": f"{names.RUN_ID}:{json.dumps(run_id)}"})
                if span.trace_id != chosen.trace_id and is_stream_root(span)
            ]
        return Found(chosen.trace_id, spans, sorted(others, key=lambda head: head.start_ns))

    def newest(self, limit: int) -> list[Head]:
        """Return the newest streams that are roots of their traces, those first."""
        heads: list[Head] = []
        with self._client() as client:
            for span in self._spans(client, {"parent_id": "null", "sort": "start_time", "order": "desc"}):
                if is_stream_root(span):
                    heads.append(head_of(span))
                if len(heads) == limit:
                    break
        return sorted(heads, key=lambda head: head.start_ns, reverse=True)

    def _client(self) -> httpx.Client:
        return httpx.Client(headers=self._headers, timeout=TIMEOUT_S, trust_env=self._trust_env)

    def _trace_ids(self, client: httpx.Client, prefix: str) -> list[str]:
        if len(prefix) == TRACE_ID_DIGITS:
            first = next(self._spans(client, {"trace_id": prefix, "limit": "1"}), None)
            return [prefix] if first else []
        ids = (str(each.get("trace_id", "")) for each in self._pages(client, "traces", {}))
        return [trace_id for trace_id in ids if trace_id.startswith(prefix)]

    def _spans(self, client: httpx.Client, query: Mapping[str, str]) -> Iterator[Span]:
        for each in self._pages(client, "spans", query):
            yield self._span(each)

    def _pages(self, client: httpx.Client, what: str, query: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        """Yield the entries of a list, page by page.

        Raises:
            UnreachableError: The server can't be reached, or answers something else.
        """
        url = f"{self._url}/v1/projects/{quote(self._project, safe='')}/{what}"
        parameters = {"limit": str(PAGE_SPANS), **query}
        for _ in range(MOST_PAGES):
            content = self._get(client, url, parameters)
            data, cursor = content.get("data"), content.get("next_cursor")
            if not isinstance(data, list):
                raise UnreachableError(f"{url}: not the answer of a Phoenix server: no list of {what}")
            yield from data
            if not cursor or "limit" in query:
                return
            parameters = {**parameters, "cursor": str(cursor)}

    def _get(self, client: httpx.Client, url: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        try:
            response = client.get(url, params=parameters)
        except httpx.HTTPError as error:
            raise UnreachableError(f"{self._url}: {error or type(error).__name__}") from error
        if response.status_code == NOT_FOUND:
            raise UnreachableError(
                f"{self._url}: no project {self._project!r} there (--project names another one)"
            )
        if not response.is_success:
            raise UnreachableError(f"{url}: {response.status_code} {response.reason_phrase}")
        try:
            content = response.json()
        except ValueError as error:
            raise UnreachableError(f"{url}: not the answer of a Phoenix server: {error}") from error
        return content if isinstance(content, dict) else {}

    def _span(self, content: dict[str, Any]) -> Span:
        try:
            context = content["context"]
            return Span(
                trace_id=str(context["trace_id"]),
                span_id=str(context["span_id"]),
                parent_id=str(content.get("parent_id") or ""),
                name=str(content.get("name", "")),
                kind="unspecified",
                start_ns=_unix_ns(content["start_time"]),
                end_ns=_unix_ns(content["end_time"]),
                attributes=content.get("attributes") or {},
                status=str(content.get("status_code", "unset")).lower(),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UnreachableError(f"{self._url}: a span that is not Phoenix' ({error!r})") from error


def _unix_ns(text: str) -> int:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - _EPOCH) // _MICROSECOND * _NS_PER_US
