"""Files that are ready to be sent: compressed once, and sent only to clients that do not have them yet.

Only files of the page go through here. Nothing of a stream or of the API is compressed: what compresses a
stream holds its frames back.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

from litestar.response.base import ASGIResponse

MEDIA_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".map": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""By the endings of names, and not by the operating system's own list, which differs between machines."""

MOST_FILES: Final = 64
"""How many files are kept in memory: a build has fewer."""


class StaticFile(NamedTuple):
    """A file and its compressed form."""

    media_type: str
    body: bytes
    etag: str
    """Names the content, quoted as in the header."""
    compressed: bytes | None
    """By gzip; None where that is no smaller."""

    @property
    def compressed_etag(self) -> str:
        """The name of the compressed form: other bytes need another name.

        Source: https://www.rfc-editor.org/rfc/rfc9110#section-8.8.3.3
        """
        return f'{self.etag[:-1]}-gzip"'


def load(path: Path) -> StaticFile:
    """Return a file, from memory where it has not changed since.

    Args:
        path: Where it is.

    Raises:
        OSError: It can't be read.
    """
    stat = path.stat()
    return _load(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(MOST_FILES)
def _load(path: Path, mtime_ns: int, size: int) -> StaticFile:
    """Return a file as it is now.

    Args:
        path: Where it is.
        mtime_ns: When it was changed, in nanoseconds of Unix time; with the size it tells a new build.
        size: Its bytes.
    """
    del mtime_ns, size
    body = path.read_bytes()
    compressed = gzip.compress(body, 9, mtime=0)
    return StaticFile(
        MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        body,
        f'"{sha256(body).hexdigest()[:32]}"',
        compressed if len(compressed) < len(body) else None,
    )


def answer(
    file: StaticFile,
    *,
    accept_encoding: str = "",
    if_none_match: str = "",
    headers: Mapping[str, str],
) -> ASGIResponse:
    """Return the response to a request for a file: compressed where that is taken, 304 where it is known.

    Args:
        file: The file.
        accept_encoding: The request's header; empty for none.
        if_none_match: Likewise.
        headers: Those that every response for this file has, such as `cache-control`.
    """
    if file.compressed is not None and accepts_gzip(accept_encoding):
        body, etag, encoding = file.compressed, file.compressed_etag, {"content-encoding": "gzip"}
    else:
        body, etag, encoding = file.body, file.etag, {}
    common = {**headers, "etag": etag, "vary": "Accept-Encoding"}
    if if_none_match and matches(if_none_match, etag):
        return ASGIResponse(status_code=HTTPStatus.NOT_MODIFIED, headers=common)
    described = {**common, **encoding, "content-type": file.media_type, "content-length": str(len(body))}
    return ASGIResponse(body=body, headers=described)


def accepts_gzip(header: str) -> bool:
    """Return whether an `Accept-Encoding` header takes gzip.

    Args:
        header: Its value; empty for none, which takes nothing here.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-12.5.3
    """
    takes: dict[str, bool] = {}
    for item in header.lower().split(","):
        name, _, parameters = item.partition(";")
        takes[name.strip()] = not _is_zero(parameters)
    return takes.get("gzip", takes.get("x-gzip", takes.get("*", False)))


def matches(header: str, etag: str) -> bool:
    """Return whether an `If-None-Match` header names a file's content.

    Tags compare weakly: a proxy that compresses by itself marks ours as weak.

    Args:
        header: Its value.
        etag: The content's tag, quoted.

    Source: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2
    """
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return "*" in tags or etag in tags


def _is_zero(parameters: str) -> bool:
    """Return whether the weight of a coding says that it is not taken. One that can't be read counts as 1."""
    name, _, weight = parameters.partition("=")
    if name.strip() != "q":
        return False
    try:
        return float(weight) == 0
    except ValueError:
        return False
