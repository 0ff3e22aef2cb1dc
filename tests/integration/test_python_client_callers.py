"""The Python client and who uses it: traces, credentials, refusals, leaving, and what is left behind."""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, format_trace_id, use_span

from tests.support.certificates import Authority
from tests.support.client_runs import WAYS, behind, read, url_of
from tests.support.processes import Stack as Shared
from tests.support.proxy import proxy_to
from tests.support.spans import spans
from tests.support.stack import running_core, running_stack
from tokenwire import events
from tokenwire.cli.key import make_key
from tokenwire.client import Client, ClientError, RefusedError


@pytest.mark.usefixtures(spans.__name__)
@pytest.mark.parametrize("way", WAYS)
async def test_a_run_is_part_of_the_callers_trace(way: str) -> None:
    """The span that is current at its start names it; an edge believes those that it trusts."""
    here = SpanContext(trace_id=0xABC, span_id=0xDEF, is_remote=False, trace_flags=TraceFlags(1))
    async with running_stack(trust_traceparent=True) as stack, Client(url_of(stack, way)) as client:
        with use_span(NonRecordingSpan(here)):
            started = await anext(await client.start("a", agent="echo"))
        assert isinstance(started, events.RunStarted)
        assert started.traceparent.split("-")[1] == format_trace_id(here.trace_id)


@pytest.mark.parametrize("way", WAYS)
async def test_refusals_are_typed(way: str) -> None:
    """A wrong key, a run that is not known, an agent that is not there: code, reason and facts."""
    key, entry = make_key("ann")
    keys = {"auth": "keys", "api_keys": entry, "principal_key": "p" * 32}
    async with running_stack(keys, **keys) as stack:
        url = url_of(stack, way)
        async with Client(url, api_key=f"{key}x") as stranger:
            assert await refusal(stranger.start("hi")) == ("UNAUTHENTICATED", "KEY_INVALID")
        async with Client(url, api_key=key) as client:
            unknown = "a" * 30
            assert (await refusal(client.get(unknown)))[0] in {"NOT_FOUND", "DATA_LOSS"}
            assert (await refusal(read(client.follow(unknown))))[0] in {"NOT_FOUND", "DATA_LOSS"}
            assert await refusal(client.start("hi", agent="nobody")) == ("NOT_FOUND", "AGENT_UNKNOWN")
            assert await (await client.start("a b", agent="echo")).text() == "a b "


async def refusal(request: Any) -> tuple[str, str]:
    """Return the code and the reason with which a request is refused."""
    with pytest.raises(RefusedError) as raised:
        await request
    return raised.value.code, raised.value.reason


async def test_a_core_is_called_with_tls_and_a_signed_principal(tmp_path: Path) -> None:
    """Who shows no certificate, or another authority's, does not get in."""
    authority = Authority(tmp_path)
    own, shown = authority.issue("core"), authority.issue("billing")
    settings = {"grpc_tls_cert": own.cert, "grpc_tls_key": own.key, "grpc_tls_client_ca": authority.file}
    async with running_core(**settings, principal_key="p" * 32) as core:
        url = f"grpcs://127.0.0.1:{core.port}"
        tls = {"tls_ca": authority.file, "tls_cert": shown.cert, "tls_key": shown.key}
        async with Client(url, principal="ann", principal_key="p" * 32, **tls) as client:
            assert await (await client.start("a b", agent="echo")).text() == "a b "
        async with Client(url, principal="ann", principal_key="p" * 32, tls_ca=authority.file) as stranger:
            with pytest.raises(ClientError) as raised:
                await stranger.start("hi")
            assert raised.value.code == "UNAVAILABLE"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("on_disconnect", "state"), [("cancel", "ended"), ("continue", "running")])
async def test_leaving_does_what_was_asked_for(way: str, on_disconnect: Any, state: str) -> None:
    """Over gRPC a broken connection is no leaving: closing the run is. An edge can't tell the two apart."""
    async with running_stack() as stack:
        with proxy_to(url_of(stack, way).partition("://")[2]) as proxy:
            async with Client(behind(proxy, way)) as client:
                run = await client.start("hi", agent="slow", on_disconnect=on_disconnect)
                await anext(run)
                if way == "grpc" or on_disconnect == "continue":
                    proxy.cut()
                await anext(run)
                await anext(run)
                assert (await run.state()).state == "running"
                await run.aclose()
                async with asyncio.timeout(20):
                    while (await client.get(run.id)).state != state:
                        await asyncio.sleep(0.02)
                await client.cancel(run.id)


@pytest.mark.parametrize("way", WAYS)
async def test_a_cancelled_task_leaves_nothing_behind(way: str, stack: Shared) -> None:
    """No task, no descriptor, no call: whether it read, or waited for a server that is away."""
    url = stack.url if way == "sse" else f"grpc://{stack.core}"

    async def reads(client: Client) -> None:
        await read(await client.start("hi", agent="silent", on_disconnect="cancel"))

    async def retries(client: Client) -> None:
        run = await client.start("hi", agent="silent")
        with proxy_to(url.partition("://")[2]) as proxy:
            async with Client(behind(proxy, way)) as other:
                follow = other.follow(run.id)
                await anext(follow)
                proxy.go_away()
                try:
                    await anext(follow)
                finally:
                    await run.cancel()

    async def once() -> None:
        async with Client(url) as client:
            for work in (reads, retries):
                task = asyncio.create_task(work(client))
                await asyncio.sleep(0.3)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    await once()  # what a first use keeps: threads, pollers
    tasks, descriptors = await left_over()
    for _ in range(3):
        await once()
    async with asyncio.timeout(20):
        while (left := await left_over()) > (tasks, descriptors) or left[1] > descriptors:
            await asyncio.sleep(0.05)


async def left_over() -> tuple[int, int]:
    """Return how many tasks and descriptors there are."""
    gc.collect()
    await asyncio.sleep(0)
    return len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))  # noqa: PTH208
