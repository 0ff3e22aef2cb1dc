"""Who may use the API, and what the core learns of it."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.app import create_app
from edge.settings import EdgeSettings
from tests.support.processes import ROOT, clean_environment
from tests.support.stack import running_stack
from tokenwire.principal import MAKE_KEY

KEY = "tw_a-long-random-key"
PRINCIPAL_KEY = "p" * 32
CORE = {"principal_key": PRINCIPAL_KEY}
ENTRY = f"alice sha256:{hashlib.sha256(KEY.encode()).hexdigest()}"
BODY = {"message": "a b", "sessionId": "s1", "agent": "echo"}


INVALID = 'Bearer error="invalid_token"'


@pytest.mark.parametrize(
    ("headers", "challenge"),
    [
        ({}, "Bearer"),
        ({"authorization": "Bearer"}, "Bearer"),
        ({"authorization": "Bearer wrong"}, INVALID),
        ({"authorization": f"Basic {KEY}"}, "Bearer"),
        ({"authorization": f"Bearer {KEY}x"}, INVALID),
        ({"authorization": b"Bearer \xff\xfe"}, INVALID),
        ([("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}x")], INVALID),
    ],
    ids=["none", "empty", "wrong", "basic", "longer", "not ascii", "two"],
)
async def test_without_a_valid_key_nothing_is_served(headers: Any, challenge: str) -> None:
    """Every API route answers 401 and says how to ask; nothing tells a wrong key from an unknown one."""
    async with running_stack(CORE, auth="keys", api_keys=ENTRY, principal_key=PRINCIPAL_KEY) as stack:
        run = "a" * 30
        answers = [
            await stack.client.post("/api/chat", json=BODY, headers=headers),
            await stack.client.get(f"/api/runs/{run}", headers=headers),
            await stack.client.get(f"/api/runs/{run}/events", headers=headers),
            await stack.client.post(f"/api/runs/{run}/cancel", headers=headers),
            await stack.client.post(f"/api/runs/{run}/ticket", headers=headers),
        ]
        open_to_all = await stack.client.get("/health/ready")
    assert {answer.status_code for answer in answers} == {401}
    assert {answer.headers["www-authenticate"] for answer in answers} == {challenge}
    assert {answer.json()["code"] for answer in answers} == {"UNAUTHENTICATED"}
    assert open_to_all.status_code == 200


async def test_with_a_key_from_a_file_everything_is_served(tmp_path: Path) -> None:
    """Comments and empty lines in the file are passed over."""
    file = tmp_path / "keys"
    file.write_text(f"# the only key\n\n{ENTRY}\n")
    async with running_stack(
        CORE, auth="keys", api_keys_file=str(file), principal_key=PRINCIPAL_KEY
    ) as stack:
        answer = await stack.client.post("/api/chat", json=BODY, headers={"authorization": f"Bearer {KEY}"})
    assert '"finalMessage":"a b "' in answer.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "192.0.2.1"}, "only for loopback"),
        ({"auth": "keys"}, "no API keys"),
        ({"auth": "keys", "api_keys": "alice"}, "line 1"),
        ({"auth": "keys", "api_keys": f"{ENTRY},{ENTRY.replace('alice', 'bob')}"}, "second principal"),
    ],
    ids=["none beyond loopback", "no keys", "no hash", "shared key"],
)
def test_unsafe_settings_are_refused_at_the_start(settings: dict[str, str], message: str) -> None:
    """The process does not begin to listen, and says why."""
    with pytest.raises(ValueError, match=message):
        create_app(EdgeSettings(principal_key=PRINCIPAL_KEY, **settings))


@pytest.mark.parametrize("auth", ["keys", "jwt", "keys,jwt"])
def test_an_edge_that_authenticates_keeps_its_users_apart_or_does_not_start(auth: str) -> None:
    """One line names the setting and how to make one. That all may share everything has to be said."""
    given = {
        **clean_environment(),
        "TOKENWIRE_AUTH": auth,
        "TOKENWIRE_API_KEYS": ENTRY,
        "TOKENWIRE_PORT": "0",
    }
    edge = subprocess.run(
        [sys.executable, "-m", "edge"], env=given, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert edge.returncode == 2
    assert f"TOKENWIRE_AUTH={auth} needs TOKENWIRE_PRINCIPAL_KEY" in edge.stderr
    assert MAKE_KEY in edge.stderr
    assert len(edge.stderr.splitlines()) == 1


async def test_users_who_share_one_owner_share_all() -> None:
    """What TOKENWIRE_SHARED_OWNER means: bob reads and stops alice's run."""
    entries = f"{ENTRY},bob sha256:{hashlib.sha256(b'tw_bob').hexdigest()}"
    async with running_stack(auth="keys", api_keys=entries, shared_owner=True) as stack:
        accept = {"accept": "application/json"}
        alice, bob = ({"authorization": f"Bearer {key}"} for key in (KEY, "tw_bob"))
        slow = BODY | {"agent": "slow"}
        started = await stack.client.post("/api/chat", json=slow, headers=alice | accept)
        run_id = started.json()["runId"]
        runs = await stack.client.get("/api/sessions/s1/runs", headers=bob)
        assert [run["runId"] for run in runs.json()["runs"]] == [run_id]
        assert (await stack.client.post(f"/api/runs/{run_id}/cancel", headers=bob)).status_code == 200


def test_secrets_are_in_no_representation() -> None:
    """A settings object that is logged by mistake tells nothing."""
    secret = "s3cret-" * 8
    settings = EdgeSettings(auth="keys", api_keys=ENTRY, principal_key=secret, ticket_key=secret[::-1])
    text = f"{settings!r} {settings} {settings.core_security()!r} {settings.authenticator()!r}"
    text += f" {settings.tickets()!r}"
    assert secret not in text
    assert secret[::-1] not in text
    assert ENTRY.split(":")[1] not in text
