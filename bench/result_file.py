"""Results as they are kept."""

from __future__ import annotations

import json
from typing import Any


def as_text(result: dict[str, Any]) -> str:
    """Return a result as JSON, each row on a line of its own."""
    facts = {name: value for name, value in result.items() if name != "rows"}
    head = json.dumps({**facts, "rows": []}, indent=1)
    rows = ",\n  ".join(json.dumps(row) for row in result["rows"])
    return head.removesuffix("[]\n}") + f"[\n  {rows}\n ]\n}}\n"
