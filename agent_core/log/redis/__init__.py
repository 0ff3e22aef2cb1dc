"""The store `redis://…`: one log for many cores, on Redis or Valkey."""

from agent_core.log.redis.log import RedisLog

__all__ = ["RedisLog"]
