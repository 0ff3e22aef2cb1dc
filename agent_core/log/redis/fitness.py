"""Whether a Redis is one that runs can be kept in."""

from __future__ import annotations

import logging
from typing import Any, Final

from redis.exceptions import NoPermissionError

from agent_core.log.budget import LogBudget
from agent_core.log.errors import LogOpenError
from agent_core.log.redis.connection import BROKEN
from agent_core.log.store_url import without_password
from tokenwire.settings import WrongSettingError

MIN_VERSION: Final = 7
"""The oldest Redis that is served. Valkey began with 7.2."""

logger = logging.getLogger(__name__)


async def require_fit(client: Any, budget: LogBudget, url: str) -> None:
    """Return if Redis can be used, as far as its user may know.

    Args:
        client: Redis, for the event loop.
        budget: How much the store is to keep.
        url: Where Redis is, for the message.

    Raises:
        LogOpenError: It can't, and why.
        WrongSettingError: It never can: it is a node of a cluster.
    """
    try:
        server = await client.info("server")
        memory = await client.info("memory")
        cluster = await client.info("cluster")
    except NoPermissionError as error:
        logger.warning(
            "can't check that Redis is version 7 or later with maxmemory-policy noeviction: %s", error
        )
        return
    except BROKEN as error:
        raise LogOpenError(f"Redis can't be used: {error}") from error
    if int(cluster.get("cluster_enabled", 0)):
        raise WrongSettingError(
            f"TOKENWIRE_STORE={without_password(url)}: Redis Cluster is not supported (cluster_enabled:1): "
            "name a single primary, or its Sentinels (redis+sentinel://)"
        )
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
