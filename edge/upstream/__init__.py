"""The way to the cores: the only modules that import grpc."""

from edge.upstream.contract import Caller, RunCall, Upstream
from edge.upstream.grpc_core import CoreAddress, GrpcUpstream

__all__ = ["Caller", "CoreAddress", "GrpcUpstream", "RunCall", "Upstream"]
