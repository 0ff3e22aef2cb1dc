"""Runs Phoenix without its gRPC server. Run by its path, with the Python that Phoenix is installed for.

    python phoenix_on_loopback.py serve

Phoenix binds gRPC to `[::]`, whatever PHOENIX_HOST says, without authentication: every machine of the network
could write spans. It has no switch for that (20.26.1, `phoenix/server/grpc_server.py`), and spans come over
HTTP here. The class is changed in its place: `phoenix` imports the server by itself, and keeps the name.
"""

from __future__ import annotations

from phoenix.server.grpc_server import GrpcServer


async def listen_nowhere(_: GrpcServer) -> None:
    """Start no server."""


# With a version that starts its server in another way this ends with a KeyError.
assert vars(GrpcServer)["__aenter__"]  # noqa: S101
GrpcServer.__aenter__ = listen_nowhere

if __name__ == "__main__":
    from phoenix.server.main import main

    main()
