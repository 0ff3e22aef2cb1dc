"""Reads the conformance corpus."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One case: see README.md."""

    name: str
    run_id: str
    steps: list[Any]
    frames: bytes
    client: list[dict[str, Any]]
    after: int
    merge: bool


def load_cases() -> list[Case]:
    """Return all cases, by name.

    Raises:
        RuntimeError: there is none: the corpus was not found.
    """
    cases = [_load(path) for path in sorted(CASES.glob("*.json"))]
    if not cases:
        raise RuntimeError(f"no conformance cases in {CASES}")
    return cases


def _load(path: Path) -> Case:
    document = json.loads(path.read_text(encoding="utf-8"))
    return Case(
        name=document["name"],
        run_id=document["runId"],
        steps=document["steps"],
        frames=document["frames"].encode(),
        client=document["client"],
        after=document.get("after", 0),
        merge=document.get("merge", True),
    )
