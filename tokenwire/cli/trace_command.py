"""The options of `tokenwire trace`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rich_click as click

DEFAULT_LIMIT = 20
"""How many streams are listed."""


@click.command()
@click.argument("trace_id", metavar="[ID]", default="")
@click.argument("paths", metavar="[FILE|FOLDER]...", nargs=-1, type=click.Path(path_type=Path))
@click.option("--all", "show_all", is_flag=True, help="Show each token's row, not only those of interest.")
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the trace as one page that needs nothing else, instead of printing it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="How many streams the list has, without ID.",
)
@click.option(
    "--phoenix",
    "phoenix_url",
    default="",
    metavar="URL",
    help="Ask a Phoenix server, such as http://127.0.0.1:6006, instead of reading files.",
)
@click.option(
    "--project",
    default="default",
    show_default=True,
    metavar="NAME",
    help="The Phoenix project that has the spans.",
)
def trace(  # noqa: PLR0913 - one parameter for each option
    *,
    trace_id: str,
    paths: tuple[Path, ...],
    show_all: bool,
    html: Path | None,
    as_json: bool,
    limit: int,
    phoenix_url: str,
    project: str,
) -> None:
    """Show each token's way through the hops, and which hop delayed it.

    ID is a trace id, a run id, or the beginning of one; without ID the newest streams are listed.

    The spans come from files of OTLP/JSON lines, as the processes write (TOKENWIRE_TRACE_FILE, the default
    here) and the Collector's file exporter. Of a FOLDER all *.jsonl, *.json and *.ndjson files are read, and
    what was rotated from them. A Phoenix server that wants a key gets PHOENIX_API_KEY.

    Exit status: 0 shown, 1 no such trace, 2 wrong usage or input, 3 the Phoenix server can't be asked.
    """
    from tokenwire.cli.trace import Wish, files_source, is_path, phoenix_source, show  # noqa: PLC0415 - other commands need none of it

    if is_path(trace_id):
        # `tokenwire trace spans.jsonl`: the list of what is in it.
        trace_id, paths = "", (Path(trace_id), *paths)
    if phoenix_url and paths:
        raise click.UsageError("--phoenix and files exclude each other.")
    if html is not None and not trace_id:
        raise click.UsageError("--html needs the ID of a trace or a run.")
    wish = Wish(trace_id, show_all=show_all, as_json=as_json, html=html, limit=limit)
    api_key = os.environ.get("PHOENIX_API_KEY", "")
    sys.exit(
        show(
            lambda: phoenix_source(phoenix_url, project, api_key) if phoenix_url else files_source(paths),
            wish,
        )
    )
