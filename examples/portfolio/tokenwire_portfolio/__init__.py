"""The agent `portfolio`, and its queries as tools of other agents."""

from tokenwire_portfolio.agent import PortfolioAgent, portfolio
from tokenwire_portfolio.database import Database
from tokenwire_portfolio.narration import Narrator, TemplateNarrator
from tokenwire_portfolio.queries import TOOLS
from tokenwire_portfolio.sections import Section
from tokenwire_portfolio.tools import tools

__all__ = [
    "TOOLS",
    "Database",
    "Narrator",
    "PortfolioAgent",
    "Section",
    "TemplateNarrator",
    "portfolio",
    "tools",
]
