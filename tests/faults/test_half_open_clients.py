"""Clients whose packets vanish: no socket says that they are gone, and they are found out all the same."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Iterator

import pytest

from tests.support.cores import running_cores, steps, wait_for_agent
from tests.support.namespace import Namespace, network_namespace
from tests.support.processes import Processes, Running, wait_until
from tests.support.reader import WITHIN_S
from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as pb

pytestmark = pytest.mark.needs("netns")

KEY = "k" * 32

NOTICED_S = 15.0
"""How soon a client that answers no ping counts as gone."""

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
        clients = [follow(processes, namespace, core.address, run_id) for run_id in run_ids]
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


def follow(processes: Processes, namespace: Namespace, address: str, run_id: str) -> Running:
    """Follow a run from inside a namespace."""
    command = [*namespace.enter, sys.executable, "-m", "tests.support.follower", address, run_id, "ann"]
    return processes.start("follower", command, {"TOKENWIRE_PRINCIPAL_KEY": KEY})
