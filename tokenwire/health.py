"""Asks a core or an edge how it is: the health check of the images.

    python -m tokenwire.health 127.0.0.1:50051                    a core, over gRPC
    python -m tokenwire.health http://127.0.0.1:8000/health/live  an edge, over HTTP

Exit status: 0 it serves, 1 it does not (and says why on standard error), 2 wrong usage.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import argparse
import http
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

import grpc

from tokenwire.addresses import channel_options, read_target

CHECK: Final = "/grpc.health.v1.Health/Check"
REQUEST: Final = b""
"""HealthCheckRequest{}, encoded: the server as a whole."""

SERVING: Final = b"\x08\x01"
"""HealthCheckResponse{status: SERVING}, encoded."""

TIMEOUT_S: Final = 3.0


def main(arguments: list[str] | None = None) -> int:
    """Return the exit status.

    Args:
        arguments: The command line's; None for this process's own.
    """
    parser = argparse.ArgumentParser(
        prog="python -m tokenwire.health", description="Check the health of a core or an edge."
    )
    parser.add_argument("target", help="HOST:PORT of a core, or the http:// URL of an edge's health check")
    parser.add_argument("--timeout", type=float, default=TIMEOUT_S, metavar="SECONDS")
    for name, what in (
        ("ca", "authorities that the core's certificate is checked against; if missing, no TLS"),
        ("cert", "certificate to present to the core (mTLS)"),
        ("key", "that certificate's key"),
    ):
        variable = f"TOKENWIRE_CORE_TLS_{name.upper()}"
        parser.add_argument(
            f"--{name}", type=Path, default=os.environ.get(variable), help=f"PEM file: {what} [{variable}]"
        )
    parser.add_argument("--name", default="", help="name in the core's certificate, if it differs from HOST")
    options = parser.parse_args(arguments)
    try:
        if options.target.startswith(("http://", "https://")):
            problem = ask_edge(options.target, options.timeout)
        else:
            credentials = _credentials(options.ca, options.cert, options.key)
            problem = ask_core(read_target(options.target), options.timeout, credentials, options.name)
    except OSError as error:
        problem = str(error)
    except ValueError as error:
        parser.error(str(error))
    if problem:
        print(f"{options.target}: {problem}", file=sys.stderr)  # noqa: T201 # a command's own words
    return 1 if problem else 0


def ask_core(
    target: str, timeout_s: float, credentials: grpc.ChannelCredentials | None = None, name: str = ""
) -> str:
    """Return what is wrong with a core; empty when it serves.

    Args:
        target: From `tokenwire.addresses.read_target`.
        timeout_s: How long it may take.
        credentials: For TLS; None for none.
        name: The name that its certificate must have; empty for its host.
    """
    override = (("grpc.ssl_target_name_override", name),) if name else ()
    options = (*override, *channel_options(target))
    channel = (
        grpc.insecure_channel(target, options)
        if credentials is None
        else grpc.secure_channel(target, credentials, options)
    )
    with channel:
        check: Any = channel.unary_unary(CHECK)
        try:
            answer = check(REQUEST, timeout=timeout_s)
        except grpc.RpcError as error:
            return f"{error.code().name}: {error.details()}"
    return "" if answer == SERVING else "the core is not serving"


def ask_edge(url: str, timeout_s: float) -> str:
    """Return what is wrong with an edge; empty when it answers 200.

    Args:
        url: Its /health/live or /health/ready.
        timeout_s: How long it may take.
    """
    # Past proxies: it is this machine that is asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=timeout_s) as answer:
            return "" if answer.status == http.HTTPStatus.OK else f"HTTP {answer.status}"
    except urllib.error.HTTPError as error:
        with error:
            return f"HTTP {error.code}: {error.read(200).decode(errors='replace')}"
    except urllib.error.URLError as error:
        return str(error.reason)


def _credentials(ca: Path | None, cert: Path | None, key: Path | None) -> grpc.ChannelCredentials | None:
    """Return what TLS needs; None for no TLS.

    Raises:
        OSError: A file can't be read.
    """
    if ca is None:
        return None
    return grpc.ssl_channel_credentials(
        ca.read_bytes(), key.read_bytes() if key else None, cert.read_bytes() if cert else None
    )


if __name__ == "__main__":
    raise SystemExit(main())
