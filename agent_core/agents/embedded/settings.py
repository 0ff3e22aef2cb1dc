"""The embedded model's settings, read from `TOKENWIRE_MODEL_…`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from agent_core.agents.embedded.errors import INSTALL, ModelUnavailableError


class ModelSettings(BaseSettings):
    """How the embedded model is kept and run."""

    model_config = SettingsConfigDict(env_prefix="TOKENWIRE_MODEL_", extra="ignore", frozen=True)

    cache: Path | None = None
    """The folder that keeps the weights (98 MB); the user's cache folder when unset."""
    max_tokens: int = Field(default=512, ge=1, le=4096)
    """The longest answer, in tokens. A longer one ends with the finish reason `length`."""
    context_tokens: int = Field(default=4096, ge=256, le=8192)
    """What one conversation may hold, answer included. The model was trained on 8,192; a token
    costs 23 kB of memory in each of `parallel` slots."""
    parallel: int = Field(default=2, ge=1, le=16)
    """Requests that are answered at the same time, sharing the threads. More wait in line."""
    threads: int = Field(default=1, ge=1, le=64)
    """Threads that compute. Two are a third faster alone, and collapse beside any other load."""

    def cache_folder(self) -> Path:
        """Return the folder that keeps the weights.

        Raises:
            ModelUnavailableError: The library that finds the user's cache folder is missing.
        """
        if self.cache is not None:
            return self.cache.expanduser()
        try:
            # Imported late: it belongs to the extra "embedded".
            from platformdirs import user_cache_path  # noqa: PLC0415
        except ImportError as error:
            raise ModelUnavailableError(f"a library is missing ({error})", INSTALL) from error
        return user_cache_path("tokenwire", appauthor=False)
