import io
import json
from typing import Any

import msgspec
import pytest

from tokenwire import events
from tokenwire.cli.show import TOOL_TEXT_CHARACTERS, JsonView, TextView, printable
from tokenwire.client import Item


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def event(kind: str, /, **fields: Any) -> Item:
    """Return an event as an edge says it."""
    data = msgspec.json.encode({"type": kind, "timestamp": 1.5, **fields})
    return Item("run.1.1", msgspec.json.decode(data, type=events.StreamEvent))


def shown(*items: Item, out: io.StringIO | None = None, err: io.StringIO | None = None) -> tuple[str, str]:
    """Return what stdout and stderr get of a run."""
    out, err = out or io.StringIO(), err or io.StringIO()
    view = TextView(out, err)
    for item in items:
        view.show(item)
    view.finish()
    return out.getvalue(), err.getvalue()


def test_the_answer_alone_goes_to_stdout() -> None:
    """`tokenwire ask … > file` keeps the answer, whole and with one line end."""
    out, err = shown(
        event("progress", percent=50.0, message="Reading"),
        event("text_delta", content="Apples"),
        event("tool_start", callId="1", tool="search", args={"q": 1}),
        event("reasoning_delta", content="hm"),
        event("text_delta", content=", pears"),
        event("done", finalMessage="", finishReason="stop"),
    )
    assert out == "Apples, pears\n"
    assert "[ 50%] Reading" in err
    assert '→ search {"q": 1}' in err
    assert "hm" in err


def test_an_answer_that_ends_its_line_gets_no_second_line_end() -> None:
    """The output is the answer."""
    assert (
        shown(event("text_delta", content="a\n"), event("done", finalMessage="", finishReason="stop"))[0]
        == "a\n"
    )


def test_each_token_is_flushed_as_it_comes() -> None:
    """A reader of a pipe sees each token at once."""
    flushed: list[str] = []

    class Pipe(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    shown(event("text_delta", content="a"), event("text_delta", content="b"), out=Pipe())
    assert flushed[:2] == ["a", "ab"]


def test_a_terminal_is_not_steered_by_a_model() -> None:
    """An escape sequence in an answer or a tool's result can't clear the screen or set a title."""
    out, err = shown(
        event("text_delta", content="a\x1b[2Jb\tc"),
        event("tool_result", callId="1", tool="x\x1b]0;t\x07", result="r\x9b1m", isError=False),
        out=Terminal(),
    )
    assert "\x1b" not in out
    assert out.startswith("a�[2Jb\tc")
    assert "\x1b" not in err
    assert "\x9b" not in err


def test_a_file_gets_the_answer_untouched() -> None:
    """Only a terminal needs protection."""
    assert shown(event("text_delta", content="a\x1b[2Jb"))[0] == "a\x1b[2Jb\n"


def test_a_terminal_shows_a_bar_that_goes_away() -> None:
    """Progress is a bar on a terminal, and gives way to the answer."""
    err = Terminal()
    out, said = shown(
        event("progress", percent=42.0, message="Fetching [holdings]"),
        event("progress", message="Still"),
        event("text_delta", content="x"),
        out=Terminal(),
        err=err,
    )
    assert "Fetching [holdings]" in said
    assert "42%" in said
    assert out == "x\n"


def test_a_bar_starts_on_a_line_of_its_own() -> None:
    """On a terminal both streams share the screen: an open line is ended first."""
    out, _ = shown(
        event("text_delta", content="half"),
        event("progress", percent=1.0, message="m"),
        event("text_delta", content="rest"),
        out=Terminal(),
        err=Terminal(),
    )
    assert out == "half\nrest\n"


def test_tool_lines_are_short_and_of_one_line() -> None:
    """A long result fills no screen."""
    _, err = shown(
        event("tool_result", callId="1", tool="t", result="a\nb " + "x" * 500, isError=True),
        event("tool_start", callId="1", tool="u", args=None),
        event("custom", name="chart", data={"bars": [1]}),
    )
    first, second, third = err.splitlines()
    assert first.startswith("✗ t a b x")
    assert len(first) <= TOOL_TEXT_CHARACTERS + 4
    assert second.strip() == "→ u"
    assert third == '· chart {"bars": [1]}'


@pytest.mark.parametrize(
    ("reason", "words"),
    [("length", "cut short"), ("cancelled", "Stopped."), ("tool_limit", "limit of tool calls")],
)
def test_an_end_before_the_end_is_said(reason: str, words: str) -> None:
    """An answer that was cut does not look whole."""
    assert words in shown(event("done", finalMessage="", finishReason=reason))[1]


def test_an_error_says_its_code_words_and_trace() -> None:
    """What a person needs to ask again, or to ask for help."""
    fields = {"code": "UNAVAILABLE", "message": "No model.", "retryable": True, "traceId": "ab" * 16}
    _, err = shown(event("text_delta", content="x"), event("error", **fields))
    assert "UNAVAILABLE: No model." in err
    assert "ab" * 16 in err
    assert "Try again" in err


def test_an_error_names_the_run_without_any_trace() -> None:
    """What the core's log is searched for where traces are off."""
    fields = {"code": "INTERNAL", "message": "The agent failed.", "retryable": False}
    _, err = shown(event("run_started", runId="k7q2", agent="a"), event("error", **fields))
    assert err == "tokenwire: INTERNAL: The agent failed. (run k7q2)\n"


def test_lost_text_is_said() -> None:
    """A hole in the answer is never silent, whichever view is used."""
    resync = Item("", events.Resync(first="run.1.9", last="run.1.12", reason="trimmed"))
    assert "text is missing" in shown(resync)[1]
    out, err = io.StringIO(), io.StringIO()
    JsonView(out, err).show(resync)
    assert "text is missing" in err.getvalue()
    assert out.getvalue() == ""


def test_a_log_that_is_away_is_said() -> None:
    """Nothing comes meanwhile: the reader knows why."""
    assert "waiting: log away" in shown(Item("", events.Degraded(message="log away")))[1]


def test_controls_that_change_nothing_are_not_shown() -> None:
    """Where replay ends, and which server goes down, is not the reader's affair."""
    controls = (events.CaughtUp(cursor="run.1.1"), events.Reconnect(retry_ms=5))
    assert shown(*(Item("", control) for control in controls)) == ("", "")
    out = io.StringIO()
    view = JsonView(out, out)
    for control in controls:
        view.show(Item("", control))
    assert out.getvalue() == ""


def test_json_is_one_line_an_event() -> None:
    """Programs read it line by line."""
    out = io.StringIO()
    view = JsonView(out, io.StringIO())
    view.show(event("text_delta", content="a\nb é"))
    view.show(Item("", events.Error(timestamp=2.5, code="X", message="m", retryable=False)))
    view.finish()
    first, second = out.getvalue().splitlines()
    assert json.loads(first) == {
        "type": "text_delta",
        "id": "run.1.1",
        "content": "a\nb é",
        "timestamp": 1.5,
    }
    assert json.loads(second) == {
        "type": "error",
        "timestamp": 2.5,
        "code": "X",
        "message": "m",
        "retryable": False,
    }


def test_printable_keeps_text_as_it_is() -> None:
    """Only control characters are replaced."""
    assert printable("Grüße 🍐\n\tx\r\x00") == "Grüße 🍐\n\tx��"


def test_a_question_is_shown_with_its_options() -> None:
    """By their numbers; how it was closed too. Neither steers the terminal."""
    out, err = shown(
        event("text_delta", content="Hm."),
        event(
            "input_requested",
            inputId="1",
            kind="choice",
            prompt="Which\x1b?",
            schema={"enum": ["red", "blue"]},
        ),
        event("input_received", inputId="1", outcome="answered"),
        event("input_requested", inputId="2", kind="json", prompt="Who?", schema={"type": "object"}),
        event("input_received", inputId="2", outcome="expired"),
        event("input_requested", inputId="3", kind="choice", prompt="What?", schema={"enum": 3}),
    )
    assert out == "Hm.\n"
    lines = err.splitlines()
    assert lines == [
        "? Which�?",
        "  1. red",
        "  2. blue",
        "✓ answered",
        "? Who?",
        '  {"type": "object"}',
        "✗ expired",
        "? What?",
    ]


def test_a_question_is_a_line_of_json() -> None:
    """As every event."""
    out, err = io.StringIO(), io.StringIO()
    JsonView(out, err).show(event("input_requested", inputId="1", kind="approval", prompt="Delete?"))
    assert json.loads(out.getvalue())["inputId"] == "1"
    assert err.getvalue() == ""
