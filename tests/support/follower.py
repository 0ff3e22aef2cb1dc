"""A client in a process of its own: `python -m tests.support.follower URL RUN_ID`, or `URL --ask AGENT`.

Prints each event that it reads: its id and its JSON. An API key is TOKENWIRE_API_KEY; for a core, the
principal `ann` is signed with TOKENWIRE_PRINCIPAL_KEY.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence

import msgspec

from tokenwire.client import Client

PATIENCE_S = 300.0
"""Longer than any test lets it wait."""


async def main(url: str, arguments: Sequence[str]) -> None:
    """Read a run to its end."""
    api_key, principal_key = (
        os.environ.get(name, "") for name in ("TOKENWIRE_API_KEY", "TOKENWIRE_PRINCIPAL_KEY")
    )
    async with Client(
        url, api_key=api_key, principal="ann", principal_key=principal_key, patience_s=PATIENCE_S
    ) as client:
        match arguments:
            case ["--ask", agent]:
                run = await client.start("hi", agent=agent)
            case [run_id]:
                run = client.follow(run_id)
            case _:
                sys.exit(__doc__)
        async for item in run.items():
            print(item.id, msgspec.json.encode(item.event).decode(), flush=True)  # noqa: T201 # what it is for


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2:]))
