"""The guard before every route: a page of another site can't drive the edge through its visitor's browser.

Browsers send requests on behalf of any page, and on loopback no password is asked for. Three checks, of what
pages can't forge: which host the request is for (a page may give its own name the address 127.0.0.1: DNS
rebinding), which page it comes from, and that its body is JSON (forms are sent without asking the server).

Programs that are no browsers send neither `Origin` nor `Sec-Fetch-Site` and notice nothing.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol, https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from litestar.exceptions import ClientException
from litestar.handlers import BaseRouteHandler

from edge.errors import RequestError
from edge.http.authentication import Connection
from tokenwire.addresses import is_loopback
from tokenwire.reasons import Reason

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""They change nothing. What they answer another site's page can't read, without CORS."""

JSON: Final = "application/json"

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class BrowserGuard:
    """A Litestar guard.

    Args:
        hosts: The host names that are served; None for any.
        is_allowed: Tells whether pages of an origin may call the edge (CORS).
    """

    def __init__(self, hosts: Iterable[str] | None, is_allowed: Callable[[str], bool]) -> None:
        self._hosts = None if hosts is None else frozenset(host.lower() for host in hosts)
        self._is_allowed = is_allowed

    async def __call__(self, connection: Connection, handler: BaseRouteHandler) -> None:
        """Let a request through that no foreign page has made.

        Raises:
            RequestError: PERMISSION_DENIED, it is for another host, or comes from another site's page.
            ClientException: 415, its body is not JSON.
        """
        del handler
        headers = connection.headers
        host = headers.get("host", "")
        self._check_host(host)
        if connection.scope.get("method") in SAFE_METHODS:
            return
        if not self._may_come_from(headers.get("origin"), headers.get("sec-fetch-site"), host):
            raise RequestError(
                "PERMISSION_DENIED",
                "Pages of other sites may not call this server. TOKENWIRE_CORS_ORIGINS can allow an origin.",
                details={"reason": Reason.ORIGIN_NOT_ALLOWED},
            )
        has_body = "transfer-encoding" in headers or headers.get("content-length", "0") != "0"
        check_content_type(headers.getall("content-type", []), has_body=has_body)

    def _check_host(self, host: str) -> None:
        """Refuse a request for another host.

        Raises:
            RequestError: PERMISSION_DENIED.
        """
        # Browsers always send one; HTTP/1.0 clients need not.
        if self._hosts is None or not host:
            return
        name = _host_and_port(f"//{host}")[0]
        if name not in self._hosts and not is_loopback(name):
            raise RequestError(
                "PERMISSION_DENIED",
                "This server is not served under this name. TOKENWIRE_ALLOWED_HOSTS can allow it.",
                details={"reason": Reason.HOST_NOT_ALLOWED},
            )

    def _may_come_from(self, origin: str | None, site: str | None, host: str) -> bool:
        """Return whether a request that changes something may come from where it does.

        Args:
            origin: The page's origin; None when no page is named.
            site: What the browser says of it in relation to this server; None when it says nothing.
            host: Whom the request is for.
        """
        if origin is not None and self._is_allowed(origin):
            return True
        if site == "same-origin":
            # The browser's own word: it holds also behind a proxy that changes the Host.
            return True
        if site not in {None, "none"}:
            return False
        return origin is None or is_same_host(origin, host)


def is_same_host(origin: str, host: str) -> bool:
    """Return whether an origin's page comes from a host.

    Only name and port count: before a proxy there is TLS, behind it there may be none. A port that is not
    named is the default one of either scheme.

    Args:
        origin: The header `Origin`.
        host: The header `Host`.
    """
    scheme = origin.partition(":")[0]
    name, port = _host_and_port(origin)
    own_name, own_port = _host_and_port(f"//{host}")
    if scheme not in _DEFAULT_PORTS or not name or name != own_name:
        return False
    if own_port is None:
        return port is None or port in _DEFAULT_PORTS.values()
    return own_port == (port or _DEFAULT_PORTS[scheme])


def check_content_type(types: list[str], *, has_body: bool) -> None:
    """Refuse a body that does not say it is JSON; a request without one needs no type.

    Args:
        types: The Content-Type headers.
        has_body: Whether the request has a body.

    Raises:
        ClientException: 415.
    """
    named = [each.partition(";")[0].strip().lower() for each in types]
    if (has_body and not named) or any(each != JSON for each in named):
        raise ClientException(
            f"The body must be JSON, with the header `Content-Type: {JSON}`.",
            status_code=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            headers={"accept-post": JSON},
        )


def _host_and_port(url: str) -> tuple[str, int | None]:
    """Return a URL's host, lowercase, and its port; an empty host for what is no URL."""
    try:
        parts = urlsplit(url)
        return (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        return "", None
