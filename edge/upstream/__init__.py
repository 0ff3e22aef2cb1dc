"""The way to the cores: the only modules that import grpc."""

from edge.upstream.connection import CoreSecurity
from edge.upstream.contract import Caller, Leave, RunCall, RunSink, RunsPage, TranscriptQuery, Upstream
from edge.upstream.grpc_upstream import GrpcUpstream
from edge.upstream.member import LinkSettings

__all__ = [
    "Caller",
    "CoreSecurity",
    "GrpcUpstream",
    "Leave",
    "LinkSettings",
    "RunCall",
    "RunSink",
    "RunsPage",
    "TranscriptQuery",
    "Upstream",
]
