"""The agent `portfolio`, and its queries for other agents."""

from agent_core.agents.portfolio.agent import PortfolioAgent, portfolio
from agent_core.agents.portfolio.database import Database
from agent_core.agents.portfolio.narration import Narrator, TemplateNarrator
from agent_core.agents.portfolio.queries import TOOLS
from agent_core.agents.portfolio.sections import Section

__all__ = [
    "TOOLS",
    "Database",
    "Narrator",
    "PortfolioAgent",
    "Section",
    "TemplateNarrator",
    "portfolio",
]
