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
    """Folder for the model's weights (98 MB). If unset, the user's cache folder."""
    max_tokens: int = Field(default=512, ge=1, le=4096)
    """Maximum length of an answer, in tokens. A longer one ends with the finish reason `length`."""
    context_tokens: int = Field(default=4096, ge=256, le=8192)
    """Maximum length of a conversation including the answer, in tokens. The model was trained on 8,192; a
    token needs 23 kB of memory in each of the TOKENWIRE_MODEL_PARALLEL slots."""
    parallel: int = Field(default=2, ge=1, le=16)
    """Number of requests that are answered at the same time, sharing the threads. More wait in a queue."""
    threads: int = Field(default=1, ge=1, le=64)
    """Number of threads that compute. Two are a third faster on an idle machine, and much slower beside any
    other load."""

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
