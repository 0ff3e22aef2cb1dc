"""Whether a Redis is one that runs can be kept in."""

from __future__ import annotations

import logging
from typing import Any, Final

from redis.exceptions import NoPermissionError

from agent_core.log.budget import LogBudget
from agent_core.log.contract import LogOpenError
from agent_core.log.redis.connection import BROKEN

MIN_VERSION: Final = 7
"""The oldest Redis that is served. Valkey began with 7.2."""

logger = logging.getLogger(__name__)


async def require_fit(client: Any, budget: LogBudget) -> None:
    """Return if Redis can be used, as far as its user may know.

    Args:
        client: Redis, for the event loop.
        budget: How much the store is to keep.

    Raises:
        LogOpenError: It can't, and why.
    """
    try:
        server = await client.info("server")
        memory = await client.info("memory")
    except NoPermissionError as error:
        logger.warning(
            "can't check that Redis is version 7 or later with maxmemory-policy noeviction: %s", error
        )
        return
    except BROKEN as error:
        raise LogOpenError(f"Redis can't be used: {error}") from error
    version = str(server.get("valkey_version", server["redis_version"]))
    if int(version.partition(".")[0]) < MIN_VERSION:
        raise LogOpenError(f"Redis {version} is too old: 7 is needed, or Valkey")
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        raise LogOpenError(f"Redis would evict runs: its maxmemory-policy is {policy}, not noeviction")
    most, share = int(memory.get("maxmemory", 0)), budget.principal_bytes
    if 0 < most <= share:
        raise LogOpenError(
            f"TOKENWIRE_LOG_PRINCIPAL_BYTES ({share}) must be less than Redis's maxmemory ({most}): "
            "else one principal could fill it"
        )
