"""What a stream's text holds: enough for tests; real parsers are tried in tests of their own."""

from __future__ import annotations

import json
from typing import Any


def events_of(body: str) -> list[dict[str, Any]]:
    """Return the JSON of each unnamed frame."""
    blocks = [block.split("\n") for block in body.split("\n\n")]
    unnamed = [block for block in blocks if not any(line.startswith("event:") for line in block)]
    return [json.loads(line[6:]) for block in unnamed for line in block if line.startswith("data: ")]


def ids_of(body: str) -> list[str]:
    """Return the frames' ids."""
    return [line[4:] for line in body.split("\n") if line.startswith("id: ")]
