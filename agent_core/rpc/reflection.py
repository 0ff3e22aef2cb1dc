"""Server reflection, v1 and v1alpha.

grpcio-reflection 1.85 has v1alpha only. v1 is the same protocol under another name, so its
descriptor is made of v1alpha's, and the same servicer answers both.

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2

from agent_core.rpc.calls import Call, Rpc

V1: Final = "grpc.reflection.v1.ServerReflection"
V1_ALPHA: Final = reflection.SERVICE_NAME
SERVICES: Final = (V1, V1_ALPHA)
V1_FILE: Final = "grpc/reflection/v1/reflection.proto"


class _SymbolPool:
    """The process's descriptors, found by any symbol: Python's pool does not know methods.

    Args:
        pool: The descriptors.
    """

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 # the pool's own name
        """Return the file of a symbol; a method's is its service's.

        Raises:
            KeyError: There is no such symbol.
        """
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            if service and method in self._pool.FindServiceByName(service).methods_by_name:
                return self._pool.FindFileContainingSymbol(service)
            raise


class Reflection:
    """Tells callers what the server offers.

    Args:
        services: The full names of the services to tell of, besides reflection itself.
    """

    def __init__(self, services: Sequence[str]) -> None:
        names = (*services, *SERVICES)
        self._servicer = reflection.aio.ReflectionServicer(names, pool=_SymbolPool(_pool_with_v1()))

    def rpcs(self) -> dict[str, Rpc]:
        """Return how each rpc is served, under both names of the service."""
        request = reflection_pb2.ServerReflectionRequest
        return {
            "ServerReflectionInfo": Rpc(
                request, self.reflect, many=True, streams=True, bounded=True, traced=False
            )
        }

    async def reflect(
        self, requests: AsyncIterator[reflection_pb2.ServerReflectionRequest], call: Call
    ) -> None:
        """Answer each request of a stream."""
        async with aclosing(self._servicer.ServerReflectionInfo(requests, call.context)) as answers:
            async for answer in answers:
                await call.context.write(answer.SerializeToString())


def _pool_with_v1() -> descriptor_pool.DescriptorPool:
    """Return the process's descriptors, with the file of reflection v1 among them."""
    pool = descriptor_pool.Default()
    try:
        pool.FindFileByName(V1_FILE)
    except KeyError:
        alpha = descriptor_pb2.FileDescriptorProto()
        reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
        text = text_format.MessageToString(alpha).replace("grpc.reflection.v1alpha", "grpc.reflection.v1")
        v1 = text_format.Parse(text, descriptor_pb2.FileDescriptorProto())
        v1.name = V1_FILE
        pool.AddSerializedFile(v1.SerializeToString())
    return pool
