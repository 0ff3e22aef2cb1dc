"""The store `redis://…`: one log for many cores, on Redis or Valkey."""

from agent_core.runs.log.redis_store.log import RedisLog

__all__ = ["RedisLog"]
