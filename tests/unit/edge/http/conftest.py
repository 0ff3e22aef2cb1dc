"""On which event loops these tests run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import pytest
import uvloop

ON_BOTH_LOOPS: Final = frozenset({"test_event_stream"})
"""The modules whose tests run on uvloop, too: the edge does, other servers may not."""

ON_UVLOOP: Final = frozenset({"test_stream_garbage"})
"""Those whose tests do so alone: a connection of asyncio's own is itself a circle."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the event loops that a test runs on, by their names."""
    del config
    if item.path.stem in ON_BOTH_LOOPS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    if item.path.stem in ON_UVLOOP:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
