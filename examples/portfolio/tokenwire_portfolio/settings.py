"""The agent's settings, read from `PORTFOLIO_…`."""

from __future__ import annotations

from pydantic_settings import BaseSettings, SettingsConfigDict


class PortfolioSettings(BaseSettings):
    """What of the agent can be chosen."""

    model_config = SettingsConfigDict(env_prefix="PORTFOLIO_", extra="ignore", frozen=True)

    narrates: bool = True
    """Whether the model of TOKENWIRE_MODEL_URL writes the text of the report's sections, from computed
    figures. If off, and with the embedded model, a template is used."""
