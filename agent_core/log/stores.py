"""The store that TOKENWIRE_STORE names."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import NamedTuple

from agent_core.log.budget import LogBudget
from agent_core.log.contract import RunLog
from agent_core.log.memory.log import MemoryLog
from agent_core.log.peers import NoPeers, Peers
from agent_core.log.settings import LogSettings
from agent_core.log.sqlite.log import SqliteLog
from agent_core.log.store_url import Store, read_store
from agent_core.log.timed import TimedLog
from tokenwire.settings import read_authorities, read_file


class LogAndPeers(NamedTuple):
    """A store, and the other cores that use it."""

    log: RunLog
    peers: Peers


def make_log(settings: LogSettings, *, principals: bool) -> LogAndPeers:
    """Return the store that is set, not open yet.

    Args:
        settings: What is set.
        principals: Whether callers prove who they are: else owners have no shares of it.

    Raises:
        WrongSettingError: A file that the store's URL names can't be used.
    """
    store, budget = read_store(settings.store), LogBudget.of(settings, principals=principals)
    match store.kind:
        case "memory":
            return LogAndPeers(MemoryLog(budget), NoPeers())
        case "sqlite":
            return LogAndPeers(TimedLog(SqliteLog(store.place, budget), "sqlite"), NoPeers())
        case "redis":
            return _redis(store, budget, settings.redis_prefix)


def _redis(store: Store, budget: LogBudget, prefix: str) -> LogAndPeers:
    for parameter, file in store.files:
        variable = f"TOKENWIRE_STORE: {parameter}"
        (read_authorities if parameter == "ssl_ca_certs" else read_file)(variable, Path(file))
    from agent_core.log.redis import RedisLog  # noqa: PLC0415 # a third of a core's start

    log = RedisLog(store.place, budget, prefix=prefix, core=secrets.token_hex(8))
    return LogAndPeers(TimedLog(log, "redis"), log.peers)
