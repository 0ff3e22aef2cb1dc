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
@click.option(
    "--all", "show_all", is_flag=True, help="Show the rows of all tokens, not only of interesting ones."
)
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the trace as one self-contained HTML page, instead of printing it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT,
    show_default=True,
    help="Maximum number of streams to list, without ID.",
)
@click.option(
    "--phoenix",
    "phoenix_url",
    default="",
    metavar="URL",
    help="URL of a Phoenix server to read from instead of files, such as http://127.0.0.1:6006.",
)
@click.option(
    "--project",
    default="default",
    show_default=True,
    metavar="NAME",
    help="Phoenix project that has the spans.",
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
    """Show the path of each token through the hops, and which hop delayed it.

    ID is a trace id, a run id, or the beginning of one. Without ID the newest streams are listed.

    The spans are read from files of OTLP/JSON lines, as written by the processes (TOKENWIRE_TRACE_FILE, the
    default here) and by the Collector's file exporter. In a FOLDER all *.jsonl, *.json and *.ndjson files
    are read, and their rotated files. The API key for a Phoenix server is read from PHOENIX_API_KEY.

    Exit status: 0 shown, 1 unknown trace, 2 wrong usage or input, 3 the Phoenix server can't be reached.
    """
    from tokenwire.cli.trace import Wish, files_source, is_path, phoenix_source, show  # noqa: PLC0415 - other commands need none of it

    if is_path(trace_id):
        # `tokenwire trace spans.jsonl`: the list of what is in it.
        trace_id, paths = "", (Path(trace_id), *paths)
    if phoenix_url and paths:
        raise click.UsageError("--phoenix can't be combined with files.")
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
