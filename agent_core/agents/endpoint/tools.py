"""What the configured model may call."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_ai import Tool
from pydantic_ai.exceptions import ToolFailed

from agent_core.agents.calculator import CalculatorError, calculate
from agent_core.agents.portfolio.database import Database
from agent_core.agents.portfolio.queries import TOOLS


def make_tools(database: Database) -> Sequence[Tool[None]]:
    """Return the portfolio queries and the calculator.

    Args:
        database: The open sample database.
    """
    return [Tool(database.tool(plan)) for plan in TOOLS] + [Tool(calculator, name="calculate")]


async def calculator(expression: str) -> str:
    """Return the value of an arithmetic expression, exact to 34 digits.

    Args:
        expression: Numbers, + - * / // % ** and parentheses, such as "(1250.5 - 1199) / 1199 * 100".
    """
    try:
        return str(calculate(expression))
    except CalculatorError as error:
        raise ToolFailed(str(error)) from error
