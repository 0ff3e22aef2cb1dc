"""Clients whose packets vanish: no socket says that they are gone, and they are found out all the same."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterator, Mapping

import pytest

from tests.support.cores import running_cores, steps, wait_for_agent
from tests.support.namespace import Namespace, network_namespace
from tests.support.processes import (
    TOKENWIRE,
    Processes,
    Running,
    edge_is_ready,
    free_port,
    wait_until,
)
from tests.support.reader import WITHIN_S
from tokenwire.cli.key import make_key
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as pb

pytestmark = pytest.mark.needs("netns")

KEY = "k" * 32

NOTICED_S = 15.0
"""How soon a client that answers no ping counts as gone."""

HEARTBEAT_S = 1.0
DEADLINE_S = 3.0
"""The edge's: how long it lets a silence last, and a write."""

GRACE_S = 1.0
SLACK_S = 10.0
"""For a machine that has much else to do."""

logger = logging.getLogger(__name__)


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A network of the test's own."""
    with network_namespace() as made:
        yield made


async def test_a_follower_whose_packets_vanish_has_left(processes: Processes, namespace: Namespace) -> None:
    """Its run gets its grace time and is then cancelled, whether it talks or not; the client is not told."""
    settings = {"principal_key": KEY, "disconnect_grace_s": GRACE_S}
    async with running_cores(processes, 1, host=namespace.here, **settings) as (core,):
        core.metadata = ((METADATA_KEY, sign_principal("ann", KEY)),)
        run_ids = [await core.start(agent) for agent in ("slow", "silent")]
        held = [core.stub.FollowRun(pb.FollowRunRequest(run_id=r), metadata=core.metadata) for r in run_ids]
        await asyncio.gather(*(call.read() for call in held))
        clients = [follow(processes, namespace, f"grpc://{core.address}", run_id) for run_id in run_ids]
        for client in clients:
            await asyncio.to_thread(wait_until, lambda c=client: c.stdout, "it reads", WITHIN_S)
        for call in held:
            call.cancel()
        await asyncio.sleep(2 * GRACE_S)
        assert [steps(processes, run_id) for run_id in run_ids] == [["started"]] * 2, "the clients hold them"
        namespace.cut()
        cut = time.monotonic()
        for run_id in run_ids:
            await asyncio.to_thread(
                wait_for_agent, processes, run_id, "cancelled", NOTICED_S + GRACE_S + SLACK_S
            )
            logger.info("cancelled %.1f s after the cut", time.monotonic() - cut)
            assert (await core.run(run_id)).outcome.reason == "cancelled"
        assert all(client.is_running() for client in clients), "they were never told anything"


@pytest.mark.parametrize("agent", ["slow", "silent"])
def test_a_browser_whose_packets_vanish_has_left(
    processes: Processes, namespace: Namespace, agent: str
) -> None:
    """The edge finds out by what stays unacknowledged, of a silent stream by its heartbeats."""
    shared = {"TOKENWIRE_PRINCIPAL_KEY": KEY}
    core, _ = processes.core(settings=shared | {"TOKENWIRE_DISCONNECT_GRACE_S": str(GRACE_S)})
    secret, entry = make_key("ann")
    port = str(free_port())
    command = [*TOKENWIRE, "edge", "--core", core, "--host", namespace.here, "--port", port]
    settings = shared | {
        "TOKENWIRE_AUTH": "keys",
        "TOKENWIRE_API_KEYS": entry,
        "TOKENWIRE_HEARTBEAT_S": str(HEARTBEAT_S),
        "TOKENWIRE_WRITE_DEADLINE_S": str(DEADLINE_S),
    }
    edge = processes.start("edge", command, settings)
    url = f"http://{namespace.here}:{port}"
    edge.wait_ready(lambda: edge_is_ready(url))
    client = follow(processes, namespace, url, "--ask", agent, settings={"TOKENWIRE_API_KEY": secret})
    wait_until(lambda: "run_started" in client.stdout, "it reads", WITHIN_S)
    run_id, _, _ = client.stdout.partition(".")
    time.sleep(2 * HEARTBEAT_S + GRACE_S)
    assert steps(processes, run_id) == ["started"], "the client holds it"
    namespace.cut()
    cut = time.monotonic()
    within_s = HEARTBEAT_S + DEADLINE_S + GRACE_S + SLACK_S
    wait_until(lambda: "cancelled" in steps(processes, run_id), "its run is cancelled", within_s)
    logger.info("cancelled %.1f s after the cut", time.monotonic() - cut)
    assert client.is_running(), "it was never told anything"


def follow(
    processes: Processes,
    namespace: Namespace,
    *arguments: str,
    settings: Mapping[str, str] | None = None,
) -> Running:
    """Follow a run from inside a namespace. See tests/support/follower.py."""
    command = [*namespace.enter, sys.executable, "-m", "tests.support.follower", *arguments]
    return processes.start("follower", command, settings or {"TOKENWIRE_PRINCIPAL_KEY": KEY})
