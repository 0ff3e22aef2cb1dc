"""Generated sections of documents."""

from __future__ import annotations

import re
from pathlib import Path


def write_section(page: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two markers of a page.

    Args:
        page: The document.
        begin: The line before the section.
        end: The line after it.
        text: The new section.

    Raises:
        ValueError: The page has no such markers.
    """
    whole = page.read_text(encoding="utf-8")
    pattern = re.compile(rf"({re.escape(begin)}\n).*?({re.escape(end)})", re.DOTALL)
    fresh, count = pattern.subn(lambda match: f"{match[1]}\n{text}\n\n{match[2]}", whole)
    if count != 1:
        raise ValueError(f"{page} has no markers for this section: {begin}")
    page.write_text(fresh, encoding="utf-8")
