"""Who is let in when: questions at once, follows one after the other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge.http.drain import Drain
from edge.http.follow_gate import FollowGate, is_follow
from edge.http.stream_policy import StreamPolicy

POLICY = StreamPolicy(retry_ms=1000)
WITHIN_S = 20.0


def scope(name: str, method: str = "GET", *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    path = "/api/chat" if method == "POST" else f"/api/runs/{name}/events"
    return {"type": "http", "method": method, "path": path, "headers": list(headers), "name": name}


class App:
    """An application whose responses begin, and end, when the test says so."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        self.bodies: list[bytes] = []
        self.begins: dict[str, asyncio.Event] = {}
        self.ends = asyncio.Event()

    def begin(self, name: str) -> None:
        self.begins.setdefault(name, asyncio.Event()).set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.entered.append(scope["name"])
        if scope["method"] == "POST":
            self.bodies.append((await receive())["body"])
        await self.begins.setdefault(scope["name"], asyncio.Event()).wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.ends.wait()


class Client:
    """One request, and what it is answered."""

    def __init__(self, gate: FollowGate, asked: dict[str, Any], body: bytes = b"") -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.incoming.put_nowait({"type": "http.request", "body": body, "more_body": False})
        self.sent: list[dict[str, Any]] = []
        self.task = asyncio.create_task(gate(asked, self.incoming.get, self._send))  # type: ignore[arg-type]

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    def leave(self) -> None:
        self.incoming.put_nowait({"type": "http.disconnect"})


async def until(condition: Any) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def app() -> App:
    return App()


async def test_a_question_is_let_in_while_follows_wait(app: App) -> None:
    """The gate is full, and others stand before it; nothing of that concerns a start."""
    gate = FollowGate(app, POLICY, Drain(), at_a_time=1, opening_s=WITHIN_S)
    follows = [Client(gate, scope(f"follow {number}")) for number in range(3)]
    await until(lambda: gate.waiting == 2)
    question = Client(gate, scope("question", "POST"), b"hi")
    await until(lambda: "question" in app.entered)
    assert app.entered == ["follow 0", "question"]
    assert app.bodies == [b"hi"]
    await end([*follows, question])


async def end(clients: list[Client]) -> None:
    """Let all that was asked come to its end."""
    for client in clients:
        client.task.cancel()
    await asyncio.gather(*(client.task for client in clients), return_exceptions=True)


async def test_follows_are_opened_in_the_order_in_which_they_came(app: App) -> None:
    """The next one when one before it has begun its answer, not when it has ended it."""
    gate = FollowGate(app, POLICY, Drain(), at_a_time=2, opening_s=WITHIN_S)
    clients = [Client(gate, scope(str(number))) for number in range(5)]
    await until(lambda: gate.waiting == 3)
    assert app.entered == ["0", "1"]
    for number in (1, 0, 2):
        app.begin(str(number))
        await until(lambda: clients[number].sent)  # noqa: B023 # it is called here
    await until(lambda: len(app.entered) == 5)
    assert app.entered == ["0", "1", "2", "3", "4"]
    assert gate.waiting == 0
    await end(clients)


async def test_one_who_leaves_while_waiting_is_not_opened(app: App) -> None:
    """Its turn goes to the next."""
    gate = FollowGate(app, POLICY, Drain(), at_a_time=1, opening_s=WITHIN_S)
    clients = [Client(gate, scope(name)) for name in ("first", "leaves", "stays")]
    await until(lambda: gate.waiting == 2)
    clients[1].leave()
    await until(clients[1].task.done)
    assert clients[1].sent == []
    app.begin("first")
    await until(lambda: len(app.entered) == 2)
    assert app.entered == ["first", "stays"]
    await end(clients)


async def test_one_who_is_cancelled_at_its_turn_passes_it_on(app: App) -> None:
    """No place is lost."""
    gate = FollowGate(app, POLICY, Drain(), at_a_time=1, opening_s=WITHIN_S)
    clients = [Client(gate, scope(name)) for name in ("first", "cancelled", "next")]
    await until(lambda: gate.waiting == 2)
    gate._release()  # It has its turn now, and does not know yet.
    clients[1].task.cancel()
    await until(lambda: "next" in app.entered)
    assert app.entered == ["first", "next"]
    await end(clients)


def later(client: Client) -> None:
    """Assert that a client was told to come back."""
    begun, body = client.sent
    assert begun["status"] == 200
    assert body["body"].startswith(b"retry: ")
    assert body["body"].endswith(b"\n\n")


async def test_one_whose_turn_does_not_come_is_told_to_come_back(app: App) -> None:
    """A 200 that ends after `retry:`, as for every follow that can't be served now."""
    gate = FollowGate(app, POLICY, Drain(), at_a_time=1, opening_s=WITHIN_S, wait_s=0.01)
    clients = [Client(gate, scope(name)) for name in ("first", "late")]
    await until(clients[1].task.done)
    later(clients[1])
    assert app.entered == ["first"]
    await end(clients)


async def test_a_client_of_the_ai_sdk_is_refused_with_a_status(app: App) -> None:
    """A stream that ends would be an answer to it: it asks the same again at once, or shows nothing."""
    gate = FollowGate(app, POLICY, Drain(), at_a_time=1, opening_s=WITHIN_S, wait_s=0.01)
    resumes = {**scope("late"), "path": "/api/ai-sdk/chat/c1/stream"}
    clients = [Client(gate, scope("first")), Client(gate, resumes)]
    await until(clients[1].task.done)
    begun, body = clients[1].sent
    assert begun["status"] == 503
    assert (b"retry-after", b"1") in begun["headers"]
    assert body["body"].startswith(b"This server is busy.")
    await end(clients)


async def test_nobody_waits_at_an_edge_that_goes_down(app: App) -> None:
    """Who waits is told to come back, and who comes then."""
    drain = Drain()
    gate = FollowGate(app, POLICY, drain, at_a_time=1, opening_s=WITHIN_S)
    clients = [Client(gate, scope(name)) for name in ("first", "waits")]
    await until(lambda: gate.waiting == 1)
    drain.start()
    clients.append(Client(gate, scope("comes")))
    await until(lambda: all(client.task.done() for client in clients[1:]))
    for client in clients[1:]:
        later(client)
    assert drain.listeners == 0
    await end(clients)


async def test_one_that_takes_long_to_open_keeps_nobody_waiting(app: App) -> None:
    """Its core may hang, and another one's run may be what the next asks for."""
    gate = FollowGate(app, POLICY, Drain(), at_a_time=1, opening_s=0.01)
    clients = [Client(gate, scope(str(number))) for number in range(4)]
    await until(lambda: len(app.entered) == 4)
    app.ends.set()
    for number in range(4):
        app.begin(str(number))
    await until(lambda: all(client.task.done() for client in clients))
    assert gate._places == 1


async def test_a_body_that_was_read_while_waiting_reaches_the_application(app: App) -> None:
    """That of a POST that resumes."""
    gate = FollowGate(app, POLICY, Drain(), at_a_time=1, opening_s=WITHIN_S)
    first = Client(gate, scope("first"))
    resumes = Client(gate, scope("resumes", "POST", (b"last-event-id", b"r.1.2")), b"x" * 100_000)
    await until(lambda: gate.waiting == 1 and resumes.incoming.empty())
    app.begin("first")
    await until(lambda: app.bodies)
    assert app.bodies == [b"x" * 100_000]
    await end([first, resumes])


@pytest.mark.parametrize(
    ("asked", "follows"),
    [
        (scope("r"), True),
        (scope("", "POST", (b"accept", b"*/*"), (b"last-event-id", b"r.1.2")), True),
        (scope("", "POST", (b"accept", b"*/*")), False),
        ({"type": "http", "method": "GET", "path": "/api/runs/r", "headers": []}, False),
        ({"type": "http", "method": "GET", "path": "/api/ai-sdk/chat/c/stream", "headers": []}, True),
        ({"type": "http", "method": "GET", "path": "/api/ai-sdk/chat/c/events", "headers": []}, False),
        ({"type": "http", "method": "OPTIONS", "path": "/api/runs/r/events", "headers": []}, False),
        ({"type": "lifespan"}, False),
    ],
)
def test_follows_are_told_from_all_else(asked: dict[str, Any], follows: bool) -> None:
    """By what the request line and the headers say."""
    assert is_follow(asked) is follows
