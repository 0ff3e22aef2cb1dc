"""A real nginx before edges, with the configuration that is shipped: only its ports are others."""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.support import system
from tests.support.processes import ROOT, Processes, free_port

SHIPPED = ROOT / "deploy" / "proxies" / "nginx.conf"
LISTENS = "127.0.0.1:8080"
EDGES = ("127.0.0.1:8000", "127.0.0.1:8001")

MAIN = """\
daemon off;
worker_processes 2;
pid nginx.pid;
{user}
events {{ worker_connections 1024; }}
http {{
    log_format answers "$status $request_method $request_uri by $upstream_addr";
    access_log access.log answers;
    client_body_temp_path client_body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include tokenwire.conf;
}}
"""
"""What Debian's own nginx.conf is there for, without its folders, which are root's."""


def configure(folder: Path, port: int, edges: Sequence[int], shipped: Path = SHIPPED) -> Path:
    """Write the configuration for these ports; return the file to start nginx with.

    Raises:
        AssertionError: An address does not stand in the shipped file exactly once.
    """
    text = shipped.read_text()
    for address, own in zip((LISTENS, *EDGES), (port, *edges), strict=True):
        assert text.count(f" {address}") == 1, f"{address} stands {text.count(address)} times in {shipped}"
        text = text.replace(f" {address}", f" 127.0.0.1:{own}")
    (folder / "tokenwire.conf").write_text(text)
    # Started as root, nginx would make its workers nobody's, who may not enter a test's folder.
    user = "user root root;" if os.geteuid() == 0 else ""
    main = folder / "nginx.conf"
    main.write_text(MAIN.format(user=user))
    return main


def start(processes: Processes, folder: Path, edges: Sequence[int]) -> int:
    """Run nginx before these edges; return its port, once it listens."""
    port = free_port()
    program = system.find("nginx")
    assert program is not None
    folder.mkdir(parents=True, exist_ok=True)
    main = configure(folder, port, edges)
    process = processes.start("nginx", [program, "-p", str(folder), "-c", str(main), "-e", "stderr"])
    process.wait_ready(lambda: _listens(port))
    return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def answers(folder: Path) -> Counter[str]:
    """Return how often nginx gave which answer: `502 POST`."""
    lines = (folder / "access.log").read_text().splitlines()
    return Counter(" ".join(line.split()[:2]) for line in lines)
