from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from tests.support.otlp_lines import Made, Plant, make_stream, write_lines
from tokenwire.traces.files import TraceFiles
from tokenwire.traces.html import page, write_page
from tokenwire.traces.source import choose
from tokenwire.traces.streams import Trace, assemble


def trace_of(folder: Path, made: Made) -> Trace:
    source = TraceFiles([write_lines(folder / "s.jsonl", made)], pytest.fail)
    return assemble(source.trace(choose(made.id, source.candidates(made.id))))


def inline(text: str, tag: str) -> str:
    (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
    return str(content)


def hash_of(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def test_the_page_needs_nothing_else_and_allows_nothing_else(tmp_path: Path) -> None:
    """Its own policy lets its one style and its one script run, and nothing be loaded."""
    text = page(trace_of(tmp_path, make_stream(50)))
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src {hash_of(inline(text, 'style'))};" in policy
    assert f"script-src {hash_of(inline(text, 'script'))};" in policy
    assert not re.findall(r"""\b(?:src|href)="(?!#)|url\(|@import|\sstyle=|\son\w+=|https?://""", text)


def test_a_long_stream_takes_less_than_200_kilobytes(tmp_path: Path) -> None:
    """5,000 tokens of five stages, the page's own text included."""
    path = tmp_path / "trace.html"
    size = write_page(trace_of(tmp_path, make_stream(5_000, [Plant(1_117, "link", 812)])), path)
    assert size == path.stat().st_size < 200_000


def test_names_from_elsewhere_can_not_leave_the_data(tmp_path: Path) -> None:
    """A span's name is text, whatever it looks like; also a placeholder's."""
    made = make_stream(5, agent="</script><script>alert(1)</script>%%script%%<!--")
    text = page(trace_of(tmp_path, made))
    assert text.count("<script") == text.count("</script>") == 2
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert "<" not in data
    assert json.loads(data)["agent"] == "</script><script>alert(1)</script>%%script%%<!--"
