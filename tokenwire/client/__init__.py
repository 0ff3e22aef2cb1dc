"""The Python client: starts runs of agents, reads their events and resumes by itself.

from tokenwire.client import Client
from tokenwire.events import TextDelta

async with Client("http://127.0.0.1:8000") as client:
    run = await client.start("List three fruits.")
    async for event in run:
        if isinstance(event, TextDelta):
            print(event.content, end="", flush=True)
"""

from tokenwire.client.client import Client, ExposedKeyWarning
from tokenwire.client.errors import (
    ClientError,
    ConnectionLostError,
    DeadlineExceededError,
    EventsMissingError,
    RefusedError,
    RunFailedError,
    UnreachableError,
)
from tokenwire.client.reading import Item
from tokenwire.client.run import Run

__all__ = [
    "Client",
    "ClientError",
    "ConnectionLostError",
    "DeadlineExceededError",
    "EventsMissingError",
    "ExposedKeyWarning",
    "Item",
    "RefusedError",
    "Run",
    "RunFailedError",
    "UnreachableError",
]
