"""The way to the cores: the only modules that import grpc."""

from edge.upstream.contract import RunCall, Upstream
from edge.upstream.grpc_core import GrpcUpstream

__all__ = ["GrpcUpstream", "RunCall", "Upstream"]
