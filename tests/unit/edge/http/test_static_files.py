"""Which form of a file a client gets, and when it gets none."""

from __future__ import annotations

import gzip
import os
from http import HTTPStatus
from pathlib import Path

import pytest

from edge.http.static_files import StaticFile, accepts_gzip, answer, load, matches

TEXT = b"let x = 1;\n" * 200


@pytest.fixture
def file(tmp_path: Path) -> StaticFile:
    """A script."""
    path = tmp_path / "app.js"
    path.write_bytes(TEXT)
    return load(path)


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("*", True),
        ("gzip ; q=0.001", True),
        ("gzip;q=high", True),
        ("gzip;level=0", True),
        ("", False),
        ("identity", False),
        ("br, zstd", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        (";;,,=", False),
    ],
)
def test_gzip_is_sent_only_where_it_is_taken(header: str, taken: bool) -> None:
    """Whatever else the header says; a weight of 0 forbids."""
    assert accepts_gzip(header) is taken


@pytest.mark.parametrize(
    ("header", "same"),
    [
        ('"a"', True),
        ('W/"a"', True),
        ('"b", W/"a" ,"c"', True),
        ("*", True),
        ('"b"', False),
        ("a", False),
        ("", False),
    ],
)
def test_a_tag_is_found_among_those_that_a_client_has(header: str, same: bool) -> None:
    """A proxy may have marked it as weak."""
    assert matches(header, '"a"') is same


def test_each_form_has_its_own_tag(file: StaticFile) -> None:
    """One form's tag is not taken for the other's."""
    plain, compressed = answer(file, headers={}), answer(file, accept_encoding="gzip", headers={})
    assert plain.body == TEXT
    assert "content-encoding" not in plain.headers
    assert gzip.decompress(compressed.body) == TEXT
    assert compressed.headers["content-encoding"] == "gzip"
    assert int(compressed.headers["content-length"]) == len(compressed.body) < len(TEXT)
    tags = [response.headers["etag"] for response in (plain, compressed)]
    assert tags[0] != tags[1]
    assert answer(file, if_none_match=tags[0], headers={}).status_code == HTTPStatus.NOT_MODIFIED
    assert answer(file, if_none_match=tags[1], headers={}).status_code == HTTPStatus.OK
    again = answer(file, accept_encoding="gzip", if_none_match=tags[1], headers={"cache-control": "no-cache"})
    assert (again.status_code, again.body) == (HTTPStatus.NOT_MODIFIED, b"")
    assert again.headers["etag"] == tags[1]
    assert again.headers["vary"] == "Accept-Encoding"
    assert again.headers["cache-control"] == "no-cache"
    assert "content-length" not in again.headers


def test_what_gets_no_smaller_is_sent_as_it_is(tmp_path: Path) -> None:
    """To everybody; its type is told by its name."""
    path = tmp_path / "dot.png"
    path.write_bytes(os.urandom(100))
    response = answer(load(path), accept_encoding="gzip", headers={})
    assert "content-encoding" not in response.headers
    assert response.headers["content-type"] == "image/png"
    (tmp_path / "what").write_bytes(b"?")
    assert load(tmp_path / "what").media_type == "application/octet-stream"


def test_a_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    """A new build shows without a restart; the same file is not compressed twice."""
    path = tmp_path / "index.html"
    path.write_text("<p>one")
    first = load(path)
    assert load(path) is first
    path.write_text("<p>two, longer")
    assert load(path).body == b"<p>two, longer"
    assert load(path).etag != first.etag
