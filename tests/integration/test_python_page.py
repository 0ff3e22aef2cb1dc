"""docs/python.md: its examples run as they stand, and its tables have all that there is."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from typing import Any

import pytest

import tokenwire.client
from tests.support.processes import ROOT, Stack, clean_environment
from tokenwire.client import Client, RefusedError

PAGE = (ROOT / "docs" / "python.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def example(name: str) -> Any:
    """Return a function of the page's."""
    (source,) = (each for each in EXAMPLES if f"async def {name}(" in each)
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 # our own page
    return names[name]


def test_the_shortest_example_prints_an_answer(stack: Stack) -> None:
    """As a program of its own, against a running server."""
    program = EXAMPLES[0].replace("http://127.0.0.1:8000", stack.url)
    command = [sys.executable, "-c", program]
    environment = clean_environment({"NO_PROXY": "127.0.0.1", "PYTHONPATH": str(ROOT)})
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "Apples, pears and plums."


async def test_the_other_examples_do_what_is_said_of_them(
    stack: Stack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is called with a client of the server."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with Client(f"grpc://{stack.core}") as client:
        await example("show")(client, "hi")
        assert capsys.readouterr().out == "Apples, pears and plums."
        run = await client.start("a b c", agent="echo", session_id="python-page")
        events = [await anext(run) for _ in range(3)]
        assert len(events) == 3
        assert await example("later")(client, run.id, run.last_id) == "a b c "
        await example("show_again")(client, "python-page")
        assert capsys.readouterr().out == "user: a b c\nagent: a b c \n"
        slow = await client.start("hi", agent="slow")
        await example("stop")(client, slow.id)
        assert capsys.readouterr().out in {"cancelling\n", "ended\n"}
        answer = example("answer")
        assert await answer(client, "hi") == "Apples, pears and plums."
        with pytest.raises(RefusedError):
            await answer(client, "")


def test_the_tables_have_every_option_and_every_error() -> None:
    """And no other."""
    options = {
        name for name, each in inspect.signature(Client).parameters.items() if each.kind is each.KEYWORD_ONLY
    }
    errors = {name for name in tokenwire.client.__all__ if name.endswith("Error")} - {"ClientError"}
    firsts = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    told = {word for first in firsts for word in re.findall(r"`(\w+)`", first)}
    assert told == options | errors
