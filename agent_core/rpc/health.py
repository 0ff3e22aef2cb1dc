"""The health service, for probes and load balancers: open to callers without credentials.

Source: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from typing import Final

from grpc_health.v1 import health_pb2 as pb

from agent_core.errors import KnownRefusalError
from agent_core.rpc.calls import Call, Rpc
from tokenwire.reasons import Reason

SERVICE: Final = pb.DESCRIPTOR.services_by_name["Health"].full_name

SERVING: Final = pb.HealthCheckResponse.SERVING
NOT_SERVING: Final = pb.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN: Final = pb.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """Tells which services are served now. The empty name stands for the server as a whole."""

    def __init__(self) -> None:
        self._serving = {"": True}
        self._changed = asyncio.Event()
        self._drains = False

    def rpcs(self) -> dict[str, Rpc]:
        """Return how each rpc is served."""
        return {
            "Check": Rpc(pb.HealthCheckRequest, self.check, open=True, traced=False),
            "List": Rpc(pb.HealthListRequest, self.list, open=True, traced=False),
            "Watch": Rpc(
                pb.HealthCheckRequest, self.watch, streams=True, open=True, bounded=True, traced=False
            ),
        }

    def set(self, service: str, *, serving: bool) -> None:
        """Say whether a service is served. Once the server drains, nothing changes it any more."""
        if not self._drains:
            self._serving[service] = serving
            self._wake()

    def drain(self) -> None:
        """Say that no service is served any more."""
        self._drains = True
        self._serving = dict.fromkeys(self._serving, False)
        self._wake()

    async def check(self, request: pb.HealthCheckRequest, _: Call) -> pb.HealthCheckResponse:
        """Return whether a service is served.

        Raises:
            RefusalError: There is no such service.
        """
        status = self._status(request.service)
        if status == SERVICE_UNKNOWN:
            raise KnownRefusalError(Reason.SERVICE_UNKNOWN, "Unknown service.")
        return pb.HealthCheckResponse(status=status)

    async def list(self, _: pb.HealthListRequest, __: Call) -> pb.HealthListResponse:
        """Return whether each service is served."""
        statuses = {name: pb.HealthCheckResponse(status=self._status(name)) for name in self._serving}
        return pb.HealthListResponse(statuses=statuses)

    async def watch(self, request: pb.HealthCheckRequest, call: Call) -> None:
        """Write whether a service is served, and each change of it."""
        told = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != told:
                await call.context.write(pb.HealthCheckResponse(status=status).SerializeToString())
                told = status
            await changed.wait()

    def _status(self, service: str) -> pb.HealthCheckResponse.ServingStatus.ValueType:
        serving = self._serving.get(service)
        if serving is None:
            return SERVICE_UNKNOWN
        return SERVING if serving else NOT_SERVING

    def _wake(self) -> None:
        """Have those who watch look again."""
        self._changed.set()
        self._changed = asyncio.Event()
