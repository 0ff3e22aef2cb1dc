"""What the configured model may call: the tool sets that TOKENWIRE_MODEL_TOOLS names.

A tool set is a sequence of functions, or a function that returns an async context manager of one. Their
names, docstrings and parameters are what the model reads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

from pydantic_ai import Tool
from pydantic_ai.exceptions import ToolFailed

from agent_core.agents.calculator import CalculatorError
from agent_core.agents.calculator import calculate as evaluate
from agent_core.agents.loading import TOOLS, AgentLoadError, AgentSource, parse_sources
from agent_core.agents.sources import describe, import_source


async def open_tools(names: str, stack: AsyncExitStack) -> Sequence[Tool[None]]:
    """Return the tools of the named sets.

    Args:
        names: Names of tool sets, or `name=package.module:attribute`, separated by whitespace.
        stack: Closes what they need.

    Raises:
        AgentLoadError: A tool set can't be found, imported or opened, or two have a tool of one name.
    """
    tools: dict[str, Tool[None]] = {}
    for source in parse_sources(names, TOOLS):
        where = describe(source, TOOLS.noun)
        for tool in await _open(source, stack, where):
            if tool.name in tools:
                raise AgentLoadError(f"{where}: there is a tool {tool.name!r} already")
            tools[tool.name] = tool
    return list(tools.values())


async def _open(source: AgentSource, stack: AsyncExitStack, where: str) -> Sequence[Tool[None]]:
    # Imports can take seconds; runs go on meanwhile.
    found: Any = await asyncio.to_thread(import_source, source, TOOLS.noun)
    try:
        functions: Sequence[Callable[..., Any]]
        functions = await stack.enter_async_context(found()) if callable(found) else found
        return [Tool(function) for function in functions]
    except Exception as error:
        raise AgentLoadError(f"{where} can't be opened: {type(error).__name__}: {error}") from error


async def calculate(expression: str) -> str:
    """Return the value of an arithmetic expression, exact to 34 digits.

    Args:
        expression: Numbers, + - * / // % ** and parentheses, such as "(1250.5 - 1199) / 1199 * 100".
    """
    try:
        return str(evaluate(expression))
    except CalculatorError as error:
        raise ToolFailed(str(error)) from error


CALCULATOR: Final = (calculate,)
"""The tool set `calculator`."""
