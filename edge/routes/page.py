"""The chat page: what `web/` was built to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from litestar import Request, Response, get
from litestar.response.base import ASGIResponse

from edge.errors import RequestError
from edge.http.static_files import answer, load

STATIC: Final = Path(__file__).resolve().parent.parent / "static"
"""Where the build of `web/` puts the page."""

_HEADERS: Final = {
    # Nothing from elsewhere, nothing inline: what a model wrote can't become a script.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_PAGE: Final = _HEADERS | {"cache-control": "no-cache"}
"""Asked for each time, and answered with 304 while it is the same: it names the assets of its build."""
_ASSETS: Final = _HEADERS | {"cache-control": "public, max-age=31536000, immutable"}
"""Their names hold a hash of their content, so they never change."""

_NOT_BUILT: Final = "The page is not built. Run: make page\n"


_ASSET: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
"""What the build calls its files. No other name reaches the file system, which has answers of its own to zero
bytes, to names that are too long, and to folders."""


def page_routes() -> list[Any]:
    """Return the handlers that serve the page, or one that says that it was not built."""
    if not (STATIC / "index.html").is_file():
        return [_missing]
    for path in (STATIC / "index.html", *(STATIC / "assets").glob("*")):
        if path.is_file():
            load(path)  # Compressed now, and not while the first visitor and all streams wait.
    return [_assets, _index]


@get("/", include_in_schema=False, sync_to_thread=False)
def _index(request: Request[Any, Any, Any]) -> ASGIResponse:
    return _answer(request, STATIC / "index.html", _PAGE)


@get("/assets/{file_path:path}", include_in_schema=False, sync_to_thread=False)
def _assets(request: Request[Any, Any, Any]) -> ASGIResponse:
    name = str(request.path_params["file_path"]).removeprefix("/")
    path = STATIC / "assets" / name
    if not _ASSET.fullmatch(name) or not path.is_file():
        raise RequestError("NOT_FOUND", "There is no such file.")
    return _answer(request, path, _ASSETS)


def _answer(request: Request[Any, Any, Any], path: Path, headers: dict[str, str]) -> ASGIResponse:
    """Return a file as a request wants it."""
    return answer(
        load(path),
        accept_encoding=",".join(request.headers.getall("accept-encoding", [])),
        if_none_match=",".join(request.headers.getall("if-none-match", [])),
        headers=headers,
    )


@get("/", include_in_schema=False, media_type="text/plain", sync_to_thread=False)
def _missing() -> Response[str]:
    return Response(_NOT_BUILT, media_type="text/plain", status_code=503)
