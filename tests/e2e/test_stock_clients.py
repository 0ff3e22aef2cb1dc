"""HTTP clients as they come, against real processes: none of them knows anything of this server."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.support import system
from tests.support.processes import Stack
from tests.support.sse_reader import events_of

JDK_CLIENT = Path(__file__).with_name("JdkClient.java")
RUN_S = 60
TEXT = "Apples, pears and plums."
PACED = json.dumps({"tokens": 20, "rate": 40})


def question(agent: str = "scripted", message: str = "hi") -> str:
    """Return the body of a question in a session of its own."""
    return json.dumps({"message": message, "sessionId": uuid4().hex, "agent": agent})


def run(command: Sequence[str | Path], stdin: bytes = b"") -> str:
    """Return what a client prints."""
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=RUN_S, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def curl(stack: Stack, *options: str) -> str:
    """Return the head and the body of the answer that curl gets to a question."""
    sends = ("-H", "Content-Type: application/json", "--data", question())
    return run(["curl", "-sSN", "--noproxy", "*", "-i", *options, *sends, f"{stack.url}/api/chat"])


def assert_whole(stream: str) -> None:
    """See that a stream has come to its end with all of its text."""
    (final,) = re.findall(r'"finalMessage":"([^"]+)"', stream)
    assert "".join(re.findall(r'"content":"([^"]*)"', stream)) == final


def raw_question(stack: Stack, body: str) -> bytes:
    """Return a question as one writes it by hand."""
    head = (
        f"POST /api/chat HTTP/1.1\r\nHost: {urlsplit(stack.url).netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


@pytest.mark.needs("java")
def test_the_jdks_http_client_gets_its_streams(stack: Stack) -> None:
    """`HttpClient.newHttpClient()` asks for h2c each time: with a length, in chunks, and with a GET."""
    asked = ["length", question(), "chunked", question(), "get", "/health/live"]
    said = run([system.find("java") or "java", JDK_CLIENT, stack.url, *asked])
    by_length, _, rest = said.removeprefix("length ").partition("chunked ")
    in_chunks, _, health = rest.partition("get ")
    for stream in (by_length, in_chunks):
        assert stream.startswith("200 HTTP_1_1\n")
        assert events_of(stream.partition("\n")[2])[-1]["finalMessage"] == TEXT
    assert health == '200 HTTP_1_1\n{"status":"ok"}\n'


@pytest.mark.needs("curl")
def test_curl_asks_for_http_2_and_gets_http_1_1(stack: Stack) -> None:
    """`curl --http2` offers an upgrade to h2c with the question itself."""
    head, _, body = curl(stack, "--http2").partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 ")
    assert events_of(body)[-1]["finalMessage"] == TEXT


@pytest.mark.needs("curl")
def test_curl_over_http_1_0_gets_no_chunks(stack: Stack) -> None:
    """The body ends with the connection. `--raw` shows it as it came."""
    head, _, body = curl(stack, "--http1.0", "--raw").partition("\r\n\r\n")
    assert "transfer-encoding" not in head.lower()
    assert "connection: close" in head.lower()
    assert body.startswith("retry: ")
    assert events_of(body)[-1]["finalMessage"] == TEXT


@pytest.mark.needs("curl")
def test_curl_gets_the_head_of_what_it_could_get(stack: Stack) -> None:
    """`curl -I`, as one looks whether a server is there."""
    told = run(["curl", "-sSI", "--noproxy", "*", f"{stack.url}/health/live"])
    assert told.startswith("HTTP/1.1 200 OK\r\n")
    assert "content-length: 15\r\n" in told


def test_a_socket_that_ends_its_side_reads_its_whole_stream(stack: Stack) -> None:
    """`shutdown(SHUT_WR)` right behind the request, as some relays do."""
    at = urlsplit(stack.url)
    with socket.create_connection((str(at.hostname), at.port or 80), timeout=RUN_S) as link:
        link.sendall(raw_question(stack, question("pace", PACED)))
        link.shutdown(socket.SHUT_WR)
        whole = b"".join(iter(lambda: link.recv(65_536), b""))
    assert_whole(whole.decode())


@pytest.mark.needs("nc")
def test_nc_reads_its_whole_stream(stack: Stack) -> None:
    """`nc -N` ends its side of the connection once it has sent all of its input."""
    at = urlsplit(stack.url)
    asked = raw_question(stack, question("pace", PACED))
    said = run([system.find("nc") or "nc", "-N", str(at.hostname), str(at.port)], asked)
    assert_whole(said)
