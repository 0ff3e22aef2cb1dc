"""The chat page: what `web/` was built to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from litestar import Response, Router, get
from litestar.static_files import create_static_files_router

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
        after_request=_cached(cache_control),
    )


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
