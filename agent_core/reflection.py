"""Server reflection, v1 and v1alpha.

grpcio-reflection 1.85 has v1alpha only. v1 is the same protocol under another name, so its
descriptor is made of v1alpha's, and the same servicer answers both.

Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_reflection.v1alpha import reflection, reflection_pb2

V1: Final = "grpc.reflection.v1.ServerReflection"
V1_ALPHA: Final = reflection.SERVICE_NAME
V1_FILE: Final = "grpc/reflection/v1/reflection.proto"

_METHOD: Final = "ServerReflectionInfo"


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


def add_reflection(server: grpc.aio.Server, services: Sequence[str]) -> None:
    """Let clients ask the server what it offers.

    Args:
        server: Not started yet.
        services: The full names of the services to tell of, besides reflection itself.
    """
    pool = _pool_with_v1()
    servicer = reflection.aio.ReflectionServicer((*services, V1, V1_ALPHA), pool=_SymbolPool(pool))
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for service in (V1, V1_ALPHA):
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {_METHOD: handler}),))


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
