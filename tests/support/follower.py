"""A client in a process of its own: `python -m tests.support.follower ADDRESS RUN_ID PRINCIPAL`.

Prints the number of each event that it reads. Its principal is signed with TOKENWIRE_PRINCIPAL_KEY.
"""

from __future__ import annotations

import os
import sys

import grpc

from tokenwire.principal import METADATA_KEY, sign_principal
from tokenwire.v1 import agent_service_pb2 as pb
from tokenwire.v1.agent_service_pb2_grpc import AgentServiceStub


def main(address: str, run_id: str, principal: str) -> None:
    """Follow a run to its end."""
    token = sign_principal(principal, os.environ["TOKENWIRE_PRINCIPAL_KEY"])
    with grpc.insecure_channel(address) as channel:
        request = pb.FollowRunRequest(run_id=run_id)
        for response in AgentServiceStub(channel).FollowRun(request, metadata=((METADATA_KEY, token),)):
            for event in response.events:
                print(event.sequence)  # noqa: T201 # what it is for


if __name__ == "__main__":
    main(*sys.argv[1:])
