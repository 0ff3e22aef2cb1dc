"""Reads the conformance corpus."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from edge.errors import EdgeError
from edge.sse.dialects import Dialect, NativeDialect
from tests.support.fed_stream import FedStream
from tokenwire.cursor import Cursor
from tokenwire.v1 import agent_service_pb2

FOLDER = Path(__file__).parent


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
    message: dict[str, Any]
    """Of the AI SDK's, what its own packages make of the chunks; empty otherwise."""


def load_cases(folder: str = "cases") -> list[Case]:
    """Return all cases of a dialect, by name.

    Args:
        folder: Where they are, beside this module.

    Raises:
        RuntimeError: there is none: the corpus was not found.
    """
    cases = [_load(path) for path in sorted((FOLDER / folder).glob("*.json"))]
    if not cases:
        raise RuntimeError(f"no conformance cases in {FOLDER / folder}")
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
        message=document.get("message", {}),
    )


def written(case: Case, dialect: Dialect) -> bytes:
    """Return what a dialect makes of a case's steps.

    Args:
        case: The case.
        dialect: A new one.
    """
    stream = FedStream(Cursor(1, case.after), dialect=dialect, merge=case.merge and dialect.traits.merges)
    state, out = stream.state, bytearray()
    for step in case.steps:
        match step:
            case "take":
                state.take(out)
            case {"response": message}:
                response = agent_service_pb2.StreamRunResponse()
                json_format.ParseDict(message, response)
                stream.feed(response.SerializeToString())
            case {"opening": retry_ms}:
                dialect.write_opening(out, retry_ms)
            case {"heartbeat": kind}:
                (NativeDialect(ping=True) if kind == "ping" else dialect).write_heartbeat(out)
            case {"fail": {"timestamp": timestamp, **failure}}:
                code = failure.pop("code")
                state.fail(EdgeError(code, failure.pop("message"), **failure), timestamp=timestamp)
            case {"reconnect": retry_ms}:
                state.reconnect(retry_ms)
            case _:
                raise AssertionError(f"unknown step: {step}")
    state.take(out)
    return bytes(out)
