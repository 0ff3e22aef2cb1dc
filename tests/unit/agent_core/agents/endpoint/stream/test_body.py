"""The body of an answer: bytes in, JSON values out."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_core.agents.endpoint.stream import body as body_module
from agent_core.agents.endpoint.stream.body import BodyReader, Done
from agent_core.agents.model_failures import ModelCallError
from tests.support.endpoint_cases import cases, encoded, kinds

BODIES = {
    f"{kind}: {name}": b"".join(
        encoded(item, case.get("encoding", "utf-8")) for item in case["rounds"][0] if item != {"hold": True}
    )
    for kind in kinds()
    for name, case in cases(kind).items()
    if isinstance(case["rounds"][0], list)
}
"""What real endpoints have streamed."""


def read(*pieces: bytes) -> list[object]:
    """Return the values of a body, DONE as a text, and the reason where it is none."""
    reader, values = BodyReader(), list[object]()
    try:
        for piece in (*pieces, None):
            for value in reader.finish() if piece is None else reader.feed(piece):
                values.append("DONE" if isinstance(value, Done) else value)  # it may raise later
    except ModelCallError as error:
        values.append(error.reason)
    return values


def test_a_body_may_come_in_any_pieces() -> None:
    """Wherever it is cut, and byte by byte, what real endpoints have sent gives the same values."""
    for name, body in BODIES.items():
        whole = read(body)
        assert read(*(body[at : at + 1] for at in range(len(body)))) == whole, name
        for at in range(1, len(body), 1 if len(body) < 600 else 17):
            assert read(body[:at], body[at:]) == whole, (name, at)


TEXTS = st.text(max_size=8).filter(lambda text: text.upper() != "[DONE]")


@given(st.lists(TEXTS, max_size=4), st.sampled_from(["\n", "\r", "\r\n"]), st.data())
def test_lines_may_end_in_any_way(texts: list[str], end: str, data: st.DataObject) -> None:
    """LF, CR and CR LF, also where a piece ends between the two, and whatever stands in the JSON."""
    body = "".join(f"data: {json.dumps(text)}{end}{end}" for text in texts).encode()
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5))), len(body)]
    assert read(*(body[a:b] for a, b in pairwise(cuts))) == texts


@pytest.mark.parametrize("piece", [b"x" * 100, b"data: {\n", b"<html>\n"], ids=["line", "event", "document"])
def test_what_has_no_end_is_refused(monkeypatch: pytest.MonkeyPatch, piece: bytes) -> None:
    """Before it fills the memory; values in between begin the count anew."""
    monkeypatch.setattr(body_module, "MAX_WAITING_BYTES", 1000)
    assert read(*([b'data: "' + b"x" * 500 + b'"\n\n'] * 10)) == ["x" * 500] * 10
    reader, held = BodyReader(), piece * (900 // len(piece))
    assert not list(reader.feed(held)), "as much as there may be"
    with pytest.raises(ModelCallError):
        list(reader.feed(held))


@pytest.mark.parametrize(
    ("body", "values"),
    [
        (b"", []),
        (b": comment\n\n", []),
        (b"data: 1", [1]),
        (b"data: 1\ndata: 2\n", [1, 2]),
        (b"\xef\xbb\xbfdata: 1\n\n", [1]),
        (b"data\n\ndata:\n\ndata: \n\n", []),
        (b"data: [\ndata: 1\ndata: ]\n\n", [[1]]),
        (b"data: [\ndata: 1\ndata: ]", [[1]]),
        (b"data: [DONE]\n\n", ["DONE"]),
        (b"data: [\ndata: 1]\ndata: [DONE]\n\n", [[1], "DONE"]),
        (b"event: ping\ndata: x\n\ndata: 1\n\n", [1]),
        (b"event: message\nid: 7\nretry: 5\ndata: 1\n\n", [1]),
        (b'event: error\ndata: {"error": {"code": 5}}\n\n', [{"error": {"code": 5}}]),
        (b'event: error\ndata: {"code": 5}\n\ndata: 1\n\n', [{"error": {"code": 5}}, 1]),
        (b"event: error\ndata: broken\n\n", [{"error": "broken"}]),
        (b'error: {"code": 5}\n\n', [{"error": {"code": 5}}]),
        (b'data: 1\n\n{"error": 5}\n', [1, {"error": 5}]),
        (b'{"a": 1}', [{"a": 1}]),
        (b'\n  \n{\n"a":\n1\n}\n', [{"a": 1}]),
        (b'[{"a": 1}]', [[{"a": 1}]]),
        (b'data: {"a": ', []),
        (b"dat", []),
        (b'data: {"a": \n\n', ["MODEL_ANSWER_MALFORMED"]),
        (b"data: 1\n\ndata: x\n\n", [1, "MODEL_ANSWER_MALFORMED"]),
        (b"data: 1\n\nHello\n", [1]),
        (b'{"a": ', ["MODEL_CUT_OFF"]),
        (b"<html>", ["MODEL_URL_WRONG"]),
        (b"Bad Gateway", ["MODEL_ANSWER_MALFORMED"]),
        (b"data: " + b"[" * 100_000 + b"\n\n", ["MODEL_ANSWER_MALFORMED"]),
        (b'data: "\xf0\x9f"\n\n', ["\udcf0\udc9f"]),
    ],
)
def test_each_way_of_sending_has_its_values(body: bytes, values: list[object]) -> None:
    """Events, several lines, bare JSON, documents, and what is none of them."""
    assert read(body) == values
