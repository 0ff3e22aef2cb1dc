"""Each of the clients of examples/, at a core that plays a script: streams that break in every way."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import pytest

from tests.support.direct_clients import PLAIN_COMMANDS, run_plain
from tests.support.scripted_core import RUN_ID, Leg, ScriptedCore, serving
from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import RUN_STATE_ENDED, Run
from tokenwire.v1.stream_pb2 import Control

LANGUAGES = [
    pytest.param("go", marks=pytest.mark.needs("go")),
    pytest.param("node", marks=pytest.mark.needs("node")),
    *PLAIN_COMMANDS,
]


@pytest.fixture(params=LANGUAGES)
def language(request: pytest.FixtureRequest) -> str:
    """Each language in turn, also those of which `make clients` alone has built a client."""
    name: str = request.param
    return name


def delta(sequence: int, epoch: int = 1) -> Event:
    """Return an event whose text is its place."""
    return Event(epoch=epoch, sequence=sequence, text_delta={"content": f"{epoch}.{sequence} "})


def resync(reason: str, first: int, last: int) -> Control:
    """Return what moves a stream to another place."""
    places = {"first": {"epoch": 1, "sequence": first}, "last": {"epoch": 1, "sequence": last}}
    return Control(resync={**places, "reason": reason})


def test_whatever_comes_each_event_is_shown_once_and_in_order(
    client_command: Sequence[str],
) -> None:
    """Events twice, skipped, unknown; ends of every sort; a trimmed log, and one that lost its end."""
    unavailable, internal = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL
    legs = [
        Leg(code=grpc.StatusCode.RESOURCE_EXHAUSTED, retry_after_ms=50),
        Leg([delta(1), delta(2), delta(2), delta(4)]),  # 3 is missing
        Leg([Control(), delta(2), delta(3), Control(draining={"retry_ms": 50})]),  # ends with OK
        Leg(code=internal),
        Leg([Event(epoch=1, sequence=4), delta(5)], code=unavailable),  # 4 is newer than the client
        Leg([resync("trimmed", 9, 10), delta(9), delta(10)], code=grpc.StatusCode.CANCELLED),
        Leg([resync("ahead", 8, 9), delta(8), delta(9)], code=unavailable),
        Leg([Event(epoch=2, sequence=10, done={})]),
    ]
    with serving(ScriptedCore(legs)) as core:
        result = run_plain(client_command, "--patience", "60", "--core", core.address, "x")
    assert (result.returncode, result.stdout) == (0, "1.1 1.2 1.3 1.5 1.9 1.10 \n"), result.stderr
    assert len(core.started) == 2
    assert len(set(core.started)) == 1
    assert core.followed == [(1, 2), (1, 3), (1, 3), (1, 5), (1, 10), (1, 9)]
    assert "resync (trimmed)" in result.stderr
    assert "resync (ahead)" in result.stderr


def test_a_run_that_is_over_at_the_cursor_is_known_from_get_run(client_command: Sequence[str]) -> None:
    """A follow that brings nothing and ends with OK: exit as the run's outcome says, nothing is printed."""
    ended = Run(state=RUN_STATE_ENDED, last={"epoch": 2, "sequence": 9}, outcome={"event": "error"})
    with serving(ScriptedCore([Leg()], ended)) as core:
        follow = ("--run", RUN_ID, "--after", f"{RUN_ID}.2.9")
        result = run_plain(client_command, "--core", core.address, *follow)
    assert (result.returncode, result.stdout.strip(), core.followed) == (1, "", [(2, 9)]), result.stderr
