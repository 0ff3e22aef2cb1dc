"""Direct consumers over mTLS: who gets in, whose runs are whose, and tools that have only reflection."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.certificates import Authority
from tests.support.direct_clients import (
    KEY,
    Client,
    SecureCore,
    expected,
    lines_of,
    run_id_of,
    security,
    told,
)
from tokenwire.principal import METADATA_KEY, sign_principal


def test_plaintext_and_foreign_certificates_do_not_get_in(client: Client, tmp_path: Path) -> None:
    """Neither side speaks with a stranger: exit 3, in words."""
    core, foreign = client.core, Authority(tmp_path, "foreign authority")
    ours = core.security
    refused = {
        "plaintext": [],
        "no certificate": ours[:2],
        "a foreign certificate": security(core.authority.file, foreign.issue("billing")),
        "a foreign core": security(foreign.file, core.shown),
    }
    for what, options in refused.items():
        result = client.run(*options, "--agent", "echo", "x", secure=False)
        assert (result.returncode, result.stdout) == (3, ""), f"{what}: {result.stderr}"
        assert "UNAVAILABLE" in result.stderr, what
        assert "    at " not in result.stderr, what
    assert client.run(*ours, "--agent", "echo", "x", secure=False).returncode == 0


def test_a_signed_principal_owns_its_runs(client: Client, tmp_path: Path) -> None:
    """Alice's run is hers: the certificate's own name and Bob get NOT_FOUND, a wrong key UNAUTHENTICATED."""
    key, wrong = tmp_path / "principal.key", tmp_path / "wrong.key"
    key.write_text(f"{KEY}\n")
    wrong.write_text("x" * 40)
    as_alice = ("--principal", "alice", "--principal-key", str(key))
    result = client.run(*as_alice, "--agent", "echo", "--json", "a b c")
    assert result.returncode == 0, result.stderr
    run_id = run_id_of(lines_of(result)[0])
    signed = (METADATA_KEY, sign_principal("alice", KEY))
    assert told(client.language, result) == expected(
        client.language, run_id, client.core.read(run_id, signed)
    )
    follow = ("--json", "--run", run_id)
    assert client.run(*as_alice, *follow).stdout.count("\n") == result.stdout.count("\n")
    for other in ((), ("--principal", "bob", "--principal-key", str(key))):
        refused = client.run(*other, *follow)
        assert (refused.returncode, "[RUN_UNKNOWN]" in refused.stderr) == (1, True), refused.stderr
    forged = client.run("--principal", "alice", "--principal-key", str(wrong), *follow)
    assert (forged.returncode, "UNAUTHENTICATED" in forged.stderr) == (1, True), forged.stderr


@pytest.fixture
def reflected(secure_core: SecureCore) -> Iterator[tuple[grpc.Channel, DescriptorPool]]:
    """A channel, and what reflection tells over it: none of our generated code."""
    with secure_core.channel() as channel:
        yield channel, DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def test_a_tool_that_has_only_reflection_can_call(
    reflected: tuple[grpc.Channel, DescriptorPool],
) -> None:
    """It finds the service, makes messages of its descriptors, and reads a run to its end, over mTLS."""
    channel, pool = reflected
    service = pool.FindServiceByName("tokenwire.v1.AgentService")
    method = service.methods_by_name["StreamRun"]
    make_request = message_factory.GetMessageClass(method.input_type)
    make_response = message_factory.GetMessageClass(method.output_type)
    call = channel.unary_stream(
        f"/{service.full_name}/{method.name}",
        request_serializer=make_request.SerializeToString,
        response_deserializer=make_response.FromString,
    )
    request = json_format.ParseDict({"run": {"message": "a b", "agent": "echo"}}, make_request())
    responses = [json_format.MessageToDict(response) for response in call(request, timeout=20)]
    assert responses[-1]["events"][-1]["done"]["finalMessage"] == "a b "
