"""The chat page: what `web/` was built to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from litestar import Request, Response, Router, get
from litestar.static_files import create_static_files_router

from edge.errors import RequestError

STATIC: Final = Path(__file__).resolve().parent.parent / "static"
"""Where the build of `web/` puts the page."""

_HEADERS: Final = {
    # Nothing from elsewhere, nothing inline: what a model wrote can't become a script.
    "content-security-policy": "default-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_NOT_BUILT: Final = "The page is not built. Run: make page\n"


_ASSET: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
"""What the build calls its files. No other name reaches the file system, which has answers of its own to zero
bytes, to names that are too long, and to folders."""


def page_routes() -> list[Any]:
    """Return the handlers that serve the page, or one that says that it was not built."""
    if (STATIC / "index.html").is_file():
        return [_static("/assets", STATIC / "assets", "public, max-age=31536000, immutable"), _index]
    return [_missing]


def _static(path: str, folder: Path, cache_control: str) -> Router:
    return create_static_files_router(
        path=path,
        directories=[folder],
        include_in_schema=False,
        before_request=_only_files_of(folder),
        after_request=_cached(cache_control),
    )


def _only_files_of(folder: Path) -> Any:
    async def check(request: Request[Any, Any, Any]) -> None:
        name = str(request.path_params["file_path"]).removeprefix("/")
        # Litestar's own refusal names the folder of the installation.
        if not _ASSET.fullmatch(name) or not (folder / name).is_file():
            raise RequestError("NOT_FOUND", "There is no such file.")

    return check


def _cached(cache_control: str) -> Any:
    def add_headers(response: Response[Any]) -> Response[Any]:
        response.headers.update(_HEADERS | {"cache-control": cache_control})
        return response

    return add_headers


@get("/", include_in_schema=False, media_type="text/html", sync_to_thread=False)
def _index() -> Response[bytes]:
    return Response(
        (STATIC / "index.html").read_bytes(),
        media_type="text/html",
        headers=_HEADERS | {"cache-control": "no-cache"},
    )


@get("/", include_in_schema=False, media_type="text/plain", sync_to_thread=False)
def _missing() -> Response[str]:
    return Response(_NOT_BUILT, media_type="text/plain", status_code=503)
