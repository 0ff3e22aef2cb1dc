"""A session's turns over HTTP: the exact JSON, its pages, and what is not told to anybody else."""

from __future__ import annotations

import json
import logging

import pytest

from tests.support.spans import Spans, spans
from tests.support.sse_reader import events_of
from tests.support.stack import Stack, running_stack

__all__ = ["spans"]

SECRET = "my PIN is 4711"  # noqa: S105 # what must not be logged

PATH = "/api/sessions/s/transcript"


async def ask(stack: Stack, message: str, agent: str = "echo") -> str:
    """Ask in the session, read the answer to its end, and return the last event's id."""
    async with stack.chat(message, agent, sessionId="s") as response:
        body = (await response.aread()).decode()
    assert events_of(body)[-1]["type"] in {"done", "error"}
    return next(line[4:] for line in reversed(body.splitlines()) if line.startswith("id: "))


async def test_the_json_is_as_the_contract_says() -> None:
    """Field by field, of a turn that ended, of one that failed, and of one that goes on."""
    async with running_stack() as stack:
        ids = [await ask(stack, "Hello"), await ask(stack, "And?", "raises_after")]
        live = await stack.start("Count.", "slow", sessionId="s")
        body = (await stack.client.get(PATH)).json()
        assert body.keys() == {"turns", "nextPageToken"}
        times = [turn.pop("createTime") for turn in body["turns"]]
        assert times == sorted(times)
        last = body["turns"][2].pop("last")
        assert last.startswith(f"{live}.1.")
        runs = [event_id[:30] for event_id in ids]
        assert body == {
            "turns": [
                {
                    "runId": runs[0],
                    "message": "Hello",
                    "state": "ended",
                    "terminal": {"event": "done", "reason": "stop"},
                    "text": "Hello ",
                    "first": f"{runs[0]}.1.1",
                    "last": ids[0],
                },
                {
                    "runId": runs[1],
                    "message": "And?",
                    "state": "ended",
                    "terminal": {"event": "error", "reason": "INTERNAL"},
                    "text": "Well",
                    "first": f"{runs[1]}.1.1",
                    "last": ids[1],
                },
                {
                    "runId": live,
                    "message": "Count.",
                    "state": "running",
                    "terminal": None,
                    "text": None,
                    "first": f"{live}.1.1",
                },
            ],
            "nextPageToken": "",
        }
        states = (await stack.client.get("/api/sessions/s/runs")).json()["runs"]
        assert [state["runId"] for state in states] == [live, *runs[::-1]]
        await stack.client.post(f"/api/runs/{live}/cancel")


async def test_pages_go_either_way() -> None:
    """Oldest first unless `order=newest` says otherwise; each turn once."""
    async with running_stack() as stack:
        said = [str(number) for number in range(5)]
        for message in said:
            await ask(stack, message)
        for order, expected in (("", said), ("oldest", said), ("newest", said[::-1])):
            params = {"pageSize": "2"} | ({"order": order} if order else {})
            told: list[str] = []
            while not told or params["pageToken"]:
                page = (await stack.client.get(PATH, params=params)).json()
                told += [turn["message"] for turn in page["turns"]]
                params["pageToken"] = page["nextPageToken"]
            assert told == expected


async def test_a_session_of_which_nothing_is_known_is_empty() -> None:
    """That is no error: a page that was never used may ask."""
    async with running_stack() as stack:
        answer = await stack.client.get("/api/sessions/unknown/transcript")
        assert (answer.status_code, answer.json()) == (200, {"turns": [], "nextPageToken": ""})
        assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        (PATH, {"pageToken": "x"}, "pageToken"),
        (PATH, {"pageToken": f"{2**63}.{'a' * 30}"}, "pageToken"),
        (PATH, {"pageToken": "1." + "a" * 200}, "pageToken"),
        (PATH, {"pageSize": "0"}, "pageSize"),
        (PATH, {"pageSize": "101"}, "pageSize"),
        (PATH, {"pageSize": "many"}, "pageSize"),
        (PATH, {"order": "random"}, "order"),
        ("/api/sessions/no%20spaces/transcript", {}, "sessionId"),
        (f"/api/sessions/{'s' * 129}/transcript", {}, "sessionId"),
    ],
)
async def test_a_wrong_question_is_refused(path: str, params: dict[str, str], field: str) -> None:
    """400, with the field's name."""
    async with running_stack() as stack:
        answer = await stack.client.get(path, params=params)
        assert answer.status_code == 400
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["details"]["field"] == field


async def test_the_schema_has_the_route() -> None:
    """With its parameters, and the fields of a turn that may be null."""
    async with running_stack() as stack:
        schema = (await stack.client.get("/schema")).json()
        route = schema["paths"]["/api/sessions/{session_id}/transcript"]["get"]
        assert {parameter["name"] for parameter in route["parameters"]} == {
            *("session_id", "pageSize", "pageToken", "order"),
        }
        turn = schema["components"]["schemas"]["Turn"]
        assert {*turn["required"]} == {
            *("runId", "message", "state", "terminal", "text", "first", "last", "createTime"),
        }


async def test_what_was_said_stands_in_no_log_and_no_span(
    caplog: pytest.LogCaptureFixture, spans: Spans
) -> None:
    """Whatever is asked of it, and where it is refused."""
    caplog.set_level(logging.DEBUG)
    async with running_stack() as stack:
        await ask(stack, SECRET)
        await ask(stack, SECRET, "raises_after")
        live = await stack.start(SECRET, "slow", sessionId="s")
        assert (await stack.client.get(PATH)).text.count(SECRET) == 4  # three messages, and an echo
        busy = await stack.client.post("/api/chat", json={"message": SECRET, "sessionId": "s"})
        assert busy.status_code == 409
        await stack.client.post(f"/api/runs/{live}/cancel")
        await stack.ended(live)
    await spans.all_ended()
    assert spans.all()
    for span in spans.all():
        assert SECRET not in json.dumps(json.loads(span.to_json()))
    own = [one for one in caplog.records if one.name.split(".")[0] in {"agent_core", "edge", "tokenwire"}]
    assert own
    assert not [one for one in own if SECRET in one.getMessage() or SECRET in repr(one.__dict__)]
