"""A core, or an edge, of another version: the same one behind a proxy that speaks another contract.

The proxy takes each message apart by the other contract, and passes on what that knows; or it adds what no
contract of today has.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from tests.support.processes import ROOT
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.event_pb2 import Event

SERVICE: Final = "tokenwire.v1.AgentService"
RELEASED: Final = ROOT / "proto" / "released.binpb"

UNKNOWN: Final = b"\xf8\xff\x3e\x07" + b"\xfa\xff\x3e\x05newer"
"""Two fields that no message has, of the numbers 129,023: a number, and a string."""
UNKNOWN_VALUE: Final = 99
"""Of enums."""

Translate = Callable[[Message], Message]


class Method(NamedTuple):
    """What the proxy does with one rpc."""

    request: type[Message]
    response: type[Message]


class Contract(NamedTuple):
    """What the other version speaks."""

    methods: Mapping[str, Method]
    """The rpcs that it has, by their bare names."""
    translate: Translate
    """Makes its own what comes and goes."""


def _methods(methods: Mapping[str, MethodDescriptor]) -> dict[str, Method]:
    of = message_factory.GetMessageClass
    return {name: Method(of(each.input_type), of(each.output_type)) for name, each in methods.items()}


def released() -> Contract:
    """Return the contract of the last release, which had no link, and could not be asked how it stands."""
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(RELEASED.read_bytes()).file:
        pool.Add(file)
    methods = _methods(pool.FindServiceByName(SERVICE).methods_by_name)
    del methods["Link"]
    return Contract(methods, _without_unknown)


def before_links() -> Contract:
    """Return the contract of the version that was before this one: it had the rpc, and did not serve it."""
    methods = _methods(pb.DESCRIPTOR.services_by_name["AgentService"].methods_by_name)
    del methods["Link"]

    def translate(message: Message) -> Message:
        if isinstance(message, pb.GetCoreResponse):
            message.core.ClearField("link")
        return message

    return Contract(methods, translate)


def newer() -> Contract:
    """Return a contract that has a field more in each message, another kind of event, and new values."""
    return Contract(_methods(pb.DESCRIPTOR.services_by_name["AgentService"].methods_by_name), _with_more)


def _without_unknown(message: Message) -> Message:
    message.DiscardUnknownFields()
    return message


def _with_more(message: Message) -> Message:
    """Return a message as a newer version would send it: `custom` is what that calls otherwise."""
    for each in _messages(message):
        if isinstance(each, Event):
            each.ClearField("custom")
            if each.HasField("done"):
                each.done.finish_reason = UNKNOWN_VALUE  # type: ignore[assignment]
        each.MergeFromString(UNKNOWN)
    return message


def _messages(message: Message) -> Iterator[Message]:
    """Yield a message and those in it."""
    yield message
    for field, value in message.ListFields():
        if field.type != FieldDescriptor.TYPE_MESSAGE or field.message_type.GetOptions().map_entry:
            continue
        for inner in value if field.is_repeated else (value,):
            yield from _messages(inner)


@asynccontextmanager
async def speaking(contract: Contract, address: str) -> AsyncIterator[str]:
    """Stand before a core as one of another version; yield HOST:PORT."""
    async with grpc.aio.insecure_channel(address) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_Handler(contract, channel),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(0)


class _Handler(grpc.GenericRpcHandler):
    def __init__(self, contract: Contract, channel: grpc.aio.Channel) -> None:
        self._contract = contract
        self._channel: Any = channel

    def service(self, details: Any) -> Any:
        """Return what serves an rpc; None for UNIMPLEMENTED."""
        method = self._contract.methods.get(details.method.rpartition("/")[2])
        if method is None:
            return None
        translate = self._contract.translate

        async def requests(given: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for request in given:
                yield translate(method.request.FromString(request)).SerializeToString()

        async def carry(given: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            # A call with one message is one of streams on the wire, too.
            metadata = [pair for pair in context.invocation_metadata() if pair[0] != "user-agent"]
            call = self._channel.stream_stream(details.method)(requests(given), metadata=metadata)
            try:
                async for response in call:
                    yield translate(method.response.FromString(response)).SerializeToString()
            except grpc.aio.AioRpcError as error:
                await context.abort(error.code(), error.details() or "", error.trailing_metadata() or ())
            finally:
                call.cancel()

        return grpc.stream_stream_rpc_method_handler(carry)
