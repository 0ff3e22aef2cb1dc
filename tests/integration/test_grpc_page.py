"""docs/grpc.md tells of every rpc that the core has, and of no other. Its reasons: test_reasons.py."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest_asyncio
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from agent_core.server import CoreServer
from tests.support.processes import ROOT
from tests.support.stack import running_core
from tokenwire.v1 import agent_service_pb2 as pb

PAGE = (ROOT / "docs" / "grpc.md").read_text()
SERVICE = pb.DESCRIPTOR.services_by_name["AgentService"]


@pytest_asyncio.fixture
async def core() -> AsyncIterator[CoreServer]:
    """A core that can be asked."""
    async with running_core() as running:
        yield running


def section(title: str) -> str:
    """Return what stands under a heading, up to the next one of any level."""
    found = re.search(rf"^#+ {title}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


def described(method: MethodDescriptor) -> str:
    """Return a method's line as grpcurl prints it."""
    asked = "stream " * method.client_streaming + "." + method.input_type.full_name
    answered = "stream " * method.server_streaming + "." + method.output_type.full_name
    return f"  rpc {method.name} ( {asked} ) returns ( {answered} );"


def printed(command: str) -> list[str]:
    """Return what the page says that a command prints."""
    _, _, rest = section("A first call, by reflection").partition(f"$ grpcurl -plaintext {command}\n")
    return rest.partition("\n\n")[0].splitlines()


def test_what_describe_prints_is_the_contract() -> None:
    """Each rpc, in the order of their names, with what it takes and gives."""
    lines = [described(method) for method in sorted(SERVICE.methods, key=lambda each: each.name)]
    name = SERVICE.full_name
    assert printed(f"localhost:50051 describe {name}") == [
        f"{name} is a service:",
        "service AgentService {",
        *lines,
        "}",
    ]


async def test_what_list_prints_is_what_the_core_serves(core: CoreServer) -> None:
    """The core itself is asked, by reflection."""
    with grpc.insecure_channel(f"127.0.0.1:{core.port}") as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        served = await asyncio.to_thread(lambda: sorted(database.get_services()))
    assert printed("localhost:50051 list") == served


async def test_the_table_of_calls_has_every_rpc_and_says_which_are_not_served(core: CoreServer) -> None:
    """Each rpc is called: what the core does not implement is what the page says is UNIMPLEMENTED."""
    rows = [line.split("|")[1:3] for line in section("The calls").splitlines() if line.startswith("| `")]
    told = {name: "UNIMPLEMENTED" in text for names, text in rows for name in re.findall(r"`(\w+)`", names)}
    async with grpc.aio.insecure_channel(f"127.0.0.1:{core.port}") as channel:
        seen = {method.name: await _is_unimplemented(channel, method) for method in SERVICE.methods}
    assert told == seen


async def _is_unimplemented(channel: grpc.aio.Channel, method: MethodDescriptor) -> bool:
    """Call a method with an empty request; return whether the core refuses it as one that it has not."""
    kinds = {True: "stream", False: "unary"}
    kind = f"{kinds[method.client_streaming]}_{kinds[method.server_streaming]}"
    call: Any = getattr(channel, kind)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=GetMessageClass(method.input_type).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    request = GetMessageClass(method.input_type)()
    under_way = call(iter([request]) if method.client_streaming else request, timeout=10)
    return await under_way.code() is grpc.StatusCode.UNIMPLEMENTED
