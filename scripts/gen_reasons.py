"""Write the tables of reasons in docs/grpc.md and docs/wire-protocol.md from tokenwire/reasons.py.

python -m scripts.gen_reasons           write
python -m scripts.gen_reasons --check   fail when they are stale
"""

import argparse
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from scripts.gen_settings import replace_between_markers, table
from tokenwire.reasons import Reason, Retry, Source

DOCS = Path(__file__).resolve().parent.parent / "docs"

TABLES = {
    "grpc.md": {"reasons": Source.CALL, "run reasons": Source.RUN},
    "wire-protocol.md": {"edge reasons": Source.EDGE},
}
"""The tables of each page: the names of their markers, and whose reasons they have."""


def main() -> int:
    """Return 1 when a table is stale and may not be written."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = [page for page in TABLES if (DOCS / page).read_text() != written(page)]
    if not check:
        for page in stale:
            (DOCS / page).write_text(written(page))
        return 0
    for page in stale:
        print(f"docs/{page} is stale: run `python -m scripts.gen_reasons`", file=sys.stderr)
    return bool(stale)


def written(page: str) -> str:
    """Return a page's text with current tables."""
    text = (DOCS / page).read_text()
    for name, source in TABLES[page].items():
        rows = list(rows_of(reason for reason in Reason if reason.source is source))
        text = replace_between_markers(text, name, table(("code", "reason", "with", "what to do"), rows))
    return text


def rows_of(reasons: Iterable[Reason]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each reason, or for several that differ in nothing but their names."""
    for (source, code, facts, retry, advice), alike in groupby(
        reasons, lambda reason: (reason.source, reason.code, reason.facts, reason.retry, reason.advice)
    ):
        names = ", ".join(f"`{reason}`" for reason in alike)
        wait = "`Retry-After`" if source is Source.EDGE else "`RetryInfo`"
        with_it = [f"`{fact}`" for fact in facts] + [wait] * (retry is Retry.LATER)
        yield f"`{code}`", names, ", ".join(with_it), advice


if __name__ == "__main__":
    raise SystemExit(main())
