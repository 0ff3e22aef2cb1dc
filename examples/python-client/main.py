"""Ask an agent, or follow a run, straight at the core.

Ctrl-C stops the run. Exit status: 0 done, 1 the run failed or was refused, 2 wrong usage, 3 no core,
4 the stream was lost, 130 stopped.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

import grpc
from position import BEFORE, Place, Position, StreamBrokeError
from reader import RunReader
from security import Security
from status import code_of, describe, is_refusal

from tokenwire.v1.event_pb2 import Event
from tokenwire.v1.run_pb2 import RunSpec

DONE, FAILED, UNREACHABLE, LOST, STOPPED = 0, 1, 3, 4, 130


def say(line: str) -> None:
    """Print a notice that is not part of the answer."""
    print(line, file=sys.stderr, flush=True)


def parse() -> argparse.Namespace:
    """Return what the command line says; wrong usage ends the process with status 2."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("message", nargs="?", metavar="MESSAGE", help="what to ask, unless a run is followed")
    add = parser.add_argument
    add("--core", metavar="HOST:PORT,...", default=os.environ.get("TOKENWIRE_CORE", "127.0.0.1:50051"))
    add("--agent", metavar="NAME", default="")
    add("--session", metavar="ID", default="", help="the conversation")
    add("--deadline", metavar="SECONDS", type=float, help="of the call and of the run")
    add("--patience", metavar="SECONDS", type=float, default=10.0, help="how long to try without contact")
    add("--run", metavar="RUN_ID", default="", help="follow a run instead of starting one")
    add("--after", metavar="ID", type=place, default=BEFORE, help="... after this event: EPOCH.SEQUENCE")
    add("--tls-ca", metavar="FILE", type=Path, help="trusted authorities: turns TLS on")
    add("--tls-cert", metavar="FILE", type=Path, help="our certificate (mTLS)")
    add("--tls-key", metavar="FILE", type=Path, help="... and its key")
    add(
        "--principal",
        metavar="NAME",
        default="",
        help="call as this one; signed with TOKENWIRE_PRINCIPAL_KEY",
    )
    given = parser.parse_args()
    if (given.message is None) == (not given.run):
        parser.error("give either a MESSAGE or --run")
    if given.principal and not os.environ.get("TOKENWIRE_PRINCIPAL_KEY"):
        parser.error("--principal needs TOKENWIRE_PRINCIPAL_KEY")
    return given


def place(text: str) -> Place:
    """Return the place that an event's id, RUN_ID.EPOCH.SEQUENCE, or its last two parts name."""
    epoch, sequence = text.split(".")[-2:]
    return Place(int(epoch), int(sequence))


def security(given: argparse.Namespace) -> Security:
    """Return how the cores are connected to."""
    files = (given.tls_ca, given.tls_cert, given.tls_key)
    ca, certificate, key = (path.read_bytes() if path else None for path in files)
    return Security(ca, certificate, key, given.principal, os.environb.get(b"TOKENWIRE_PRINCIPAL_KEY", b""))


def show(event: Event) -> None:
    """Print an event: the answer to stdout, the rest to stderr. Unknown payloads are skipped."""
    kind = event.WhichOneof("payload")
    if kind == "text_delta":
        print(event.text_delta.content, end="", flush=True)
    elif kind == "run_started":
        say(f"run {event.run_started.run_id}")
    elif kind == "progress":
        say(f"[{event.progress.percent:g}%] {event.progress.message}")
    elif kind == "tool_start":
        say(f"-> {event.tool_start.tool} {event.tool_start.args_json}")
    elif kind == "error":
        say(f"{event.error.code}: {event.error.message}")
    elif kind == "done":
        print(flush=True)


def main() -> int:
    """Read a run to its end; return the exit status."""
    given = parse()
    spec = None if given.run else RunSpec(message=given.message, agent=given.agent, session_id=given.session)
    run = RunReader(
        cores=given.core.split(","),
        spec=spec,
        at=Position(given.run, given.after),
        security=security(given),
        deadline_s=given.deadline,
        patience_s=given.patience,
        say=say,
    )
    stopped = threading.Event()

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a second one leaves at once
        stopped.set()
        threading.Thread(target=stop_run, args=(run,), daemon=True).start()

    signal.signal(signal.SIGINT, stop)
    try:
        for event in run:
            show(event)
    except (grpc.RpcError, StreamBrokeError) as error:
        return STOPPED if stopped.is_set() else failed(run, error)
    except KeyboardInterrupt:
        return STOPPED
    if stopped.is_set():
        return STOPPED
    return DONE if run.at.outcome == "done" else FAILED


def stop_run(run: RunReader) -> None:
    """Stop a run, and end the process when that can't be done."""
    try:
        run.stop()
    except grpc.RpcError as error:
        say("\n".join(["the run could not be stopped:", *describe(error)]))
        os._exit(STOPPED)


def failed(run: RunReader, error: Exception) -> int:
    """Print why the run was not read to its end; return the exit status."""
    for line in describe(error):
        say(line)
    if is_refusal(error) or code_of(error) == "DEADLINE_EXCEEDED":
        return FAILED
    if run.at.run_id and run.at.shown != BEFORE:
        epoch, sequence = run.at.shown
        say(f"go on with: --run {run.at.run_id} --after {run.at.run_id}.{epoch}.{sequence}")
        return LOST
    return UNREACHABLE if code_of(error) == "UNAVAILABLE" else FAILED


if __name__ == "__main__":
    raise SystemExit(main())
