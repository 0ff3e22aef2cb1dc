"""The health check says whether something serves, in its exit status and in words."""

import threading
from collections.abc import Iterator
from concurrent import futures
from http.server import BaseHTTPRequestHandler, HTTPServer

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from tests.support.processes import free_port
from tokenwire.health import main


@pytest.fixture
def core() -> Iterator[tuple[str, health.HealthServicer]]:
    servicer = health.HealthServicer()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", servicer
    server.stop(None).wait()


class Answers(BaseHTTPRequestHandler):
    """An edge that lives, and is not ready."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/live" else 503)
        self.end_headers()
        self.wfile.write(b'{"status":"draining"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def edge() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_core_that_serves_is_well(core: tuple[str, health.HealthServicer]) -> None:
    """Status 0 and not a word."""
    assert main([core[0]]) == 0


def test_a_core_that_drains_is_not(
    core: tuple[str, health.HealthServicer], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not to be sent new runs."""
    core[1].set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    assert main([core[0]]) == 1
    assert "the core is not serving" in capsys.readouterr().err


def test_where_nothing_listens_nothing_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    """Said in a line, over both protocols, within the time."""
    port = free_port()
    assert main([f"127.0.0.1:{port}", "--timeout", "1"]) == 1
    assert main([f"http://127.0.0.1:{port}/health/live", "--timeout", "1"]) == 1
    told = capsys.readouterr().err
    assert "UNAVAILABLE" in told or "DEADLINE_EXCEEDED" in told
    assert "refused" in told


def test_an_edge_answers_by_its_status(
    edge: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """200 is well, 503 is not; a proxy of the environment's is passed by."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert main([f"{edge}/health/live"]) == 0
    assert main([f"{edge}/health/ready"]) == 1
    assert "HTTP 503" in capsys.readouterr().err


def test_a_certificate_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """No traceback."""
    assert main(["127.0.0.1:1", "--ca", "/no/such/ca.pem"]) == 1
    assert "/no/such/ca.pem" in capsys.readouterr().err
