"""Every documented form of TOKENWIRE_STORE starts a core, with a real Redis at the other end."""

from __future__ import annotations

import logging
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis

from agent_core.log.budget import LogBudget
from agent_core.log.contract import End, Exchange, PrincipalLogFullError
from agent_core.log.redis import RedisLog
from agent_core.server import CoreStartError
from tests.support.certificates import Authority
from tests.support.core import Core, events_of, rest_of, running_core, stream_request
from tests.support.processes import ROOT, free_port
from tests.support.redis_server import RedisServer
from tests.support.stores import STOP, THIRD, payload, record
from tokenwire.settings import WrongSettingError
from tokenwire.v1 import agent_service_pb2 as pb

PASSWORD = "p/w#1@?"  # noqa: S105 - of no one
ESCAPED = "p%2Fw%231%40%3F"


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options)
    try:
        yield server
    finally:
        server.stop()


async def works_with(store: str, **settings: Any) -> None:
    """Run an agent, follow its run, and ask about it, at a core with this store."""
    async with running_core(store=store, **settings) as core:
        events = await core.events("scripted", session_id="s")
        assert events[-1].done.final_message
        assert [event.sequence for event in events] == [*range(1, len(events) + 1)]


def documented_acl() -> list[str]:
    """Return the words of the rule in docs/operations.md, after the user's name."""
    _, _, rest = (ROOT / "docs" / "operations.md").read_text().partition("ACL SETUSER core ")
    return shlex.split(rest.partition("```")[0])


@pytest.mark.needs("redis")
async def test_redis_is_reached_over_tcp_tls_and_a_unix_socket(tmp_path: Path) -> None:
    """With and without a database, a user, a private authority."""
    authority = Authority(tmp_path)
    shown = authority.issue("redis")
    tls_port, path = free_port(), tmp_path / "redis.sock"
    tls = ("--tls-port", str(tls_port), "--tls-cert-file", str(shown.cert), "--tls-key-file", str(shown.key))
    more = (
        "--tls-ca-cert-file",
        str(authority.file),
        "--tls-auth-clients",
        "optional",
        "--unixsocket",
        str(path),
    )
    with serving(tmp_path, *tls, *more) as server:
        server.client.execute_command("ACL", "SETUSER", "user", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        ca = f"ssl_ca_certs={authority.file}"
        for number, store in enumerate(
            (
                f"redis://127.0.0.1:{server.port}",
                f"redis://user:{ESCAPED}@localhost:{server.port}/1",
                f"rediss://127.0.0.1:{tls_port}/2?{ca}",
                f"rediss://127.0.0.1:{tls_port}?db=3&{ca}&ssl_certfile={shown.cert}&ssl_keyfile={shown.key}",
                f"unix://{path}",
                f"unix://user:{ESCAPED}@{path}?db=5",
            )
        ):
            await works_with(store)
            assert redis.Redis(port=server.port, db=(0, 1, 2, 3, 0, 5)[number]).dbsize() > 0, store
        with pytest.raises(CoreStartError, match="certificate verify failed"):
            await works_with(f"rediss://127.0.0.1:{tls_port}")
        with pytest.raises(
            WrongSettingError, match=r"TOKENWIRE_STORE: ssl_ca_certs=/no/ca.pem: No such file"
        ):
            await works_with(f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs=/no/ca.pem")


async def test_sqlite_is_opened_where_its_path_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the working folder, or absolute; memory needs nothing."""
    monkeypatch.chdir(tmp_path)
    await works_with("sqlite:relative.db")
    await works_with(f"sqlite:{tmp_path}/absolute.db")
    await works_with("memory")
    assert (tmp_path / "relative.db").exists()
    assert (tmp_path / "absolute.db").exists()


async def test_a_place_that_can_not_be_written_is_told(tmp_path: Path) -> None:
    """No folder; a file where a folder should be; a file that may only be read, or is another program's."""
    file = tmp_path / "file"
    file.write_text("no database, but long enough to be looked at as one" * 20)
    file.chmod(stat.S_IRUSR)
    for place, why in (("no/runs.db", "No such file"), ("file/runs.db", "Not a directory"), ("file", "file")):
        with pytest.raises(
            CoreStartError, match=rf"TOKENWIRE_STORE=sqlite:{tmp_path}/{place}: can't .*{why}"
        ):
            await works_with(f"sqlite:{tmp_path}/{place}")


async def all_of_a_run(one: Core, other: Core) -> None:
    """Do at two cores what clients do: start, follow elsewhere, cancel, list, repeat, ask again."""
    run_id = await one.start("scripted", session_id="s", request_id="r")
    assert (await other.follow(run_id))[-1].events[-1].done.final_message
    assert await one.start("scripted", session_id="s", request_id="r") == run_id
    assert (await other.events("recalls", session_id="s"))[-1].done.final_message
    call = one.stub.StreamRun(stream_request("slow"))
    (first,) = events_of([await call.read()])
    assert first.run_started.run_id
    await other.stub.CancelRun(pb.CancelRunRequest(run_id=first.run_started.run_id))
    assert events_of(await rest_of(call))[-1].done.finish_reason
    assert (await other.stub.ListRuns(pb.ListRunsRequest(session_id="s"))).runs
    for order in (pb.TRANSCRIPT_ORDER_OLDEST_FIRST, pb.TRANSCRIPT_ORDER_NEWEST_FIRST):
        request = pb.GetTranscriptRequest(session_id="s", order=order)
        assert len((await other.stub.GetTranscript(request)).turns) == 2


@pytest.mark.needs("redis")
async def test_the_documented_rights_are_enough(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Two cores do all that clients ask for, and Redis has refused nothing."""
    with serving(tmp_path) as server:
        server.client.execute_command("ACL", "SETUSER", "core", *documented_acl())
        url = f"redis://core:PASSWORD@127.0.0.1:{server.port}/0"
        async with running_core(store=url) as one, running_core(store=url) as other:
            await all_of_a_run(one, other)
        assert server.client.acl_log() == []
        # Keys of other prefixes are none of its concern.
        with pytest.raises(CoreStartError, match=r"can't get a lease|can't be used"):
            await works_with(url, redis_prefix=f"another-{uuid4().hex}")
        assert "was not checked" not in caplog.text


@pytest.mark.needs("redis")
async def test_the_documented_rights_are_enough_for_shares(tmp_path: Path) -> None:
    """What is kept for each principal is counted, and given up, by further commands."""
    with serving(tmp_path) as server:
        server.client.execute_command("ACL", "SETUSER", "core", *documented_acl())
        url = f"redis://core:PASSWORD@127.0.0.1:{server.port}/0"
        log = RedisLog(url, LogBudget(run_bytes=40_000, principal_bytes=120_000), core="core")
        await log.start()
        try:
            for number in range(6):
                run_id = f"k7q2{number:026}"
                await log.create(record(run_id, session="s", create=number, message="x" * 1_000))
                await log.append(run_id, 1, 1, [payload("x" * 10_000)] * 3)
                await log.close(run_id, 1, 4, [payload("end")], End(STOP, Exchange("x", "y" * 20_000)))
            left = await log.session_runs("alice", "s", 9)
            assert 1 <= len(left) < 6
            await log.delete(left[0].record.run_id)
            live = [f"k7q3{number:026}" for number in range(2)]
            for run_id in live:
                await log.create(record(run_id))
                await log.append(run_id, 1, 1, [payload("x" * 39_000)])
            with pytest.raises(PrincipalLogFullError):
                await log.create(record(THIRD, message="x" * 20_000))
        finally:
            await log.aclose()
        assert server.client.acl_log() == []


@pytest.mark.needs("redis")
async def test_without_info_a_core_starts_and_says_what_it_did_not_check(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A hosted Redis often gives `+@all -@dangerous`."""
    with serving(tmp_path) as server:
        rule = ("on", ">PASSWORD", "~*", "&*", "+@all", "-@dangerous")
        server.client.execute_command("ACL", "SETUSER", "hosted", *rule)
        with caplog.at_level(logging.WARNING):
            await works_with(f"redis://hosted:PASSWORD@127.0.0.1:{server.port}/0")
        assert "can't check that Redis is version 7 or later" in caplog.text
