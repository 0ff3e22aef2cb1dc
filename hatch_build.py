"""Refuses to build a wheel or an sdist without the chat page, which is made by `make page` and not in git."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PAGE = Path("edge", "static", "index.html")


class PageHook(BuildHookInterface[BuilderConfig]):
    """Looks for the page before anything is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's interface
        """End the build with a message where there is no page.

        An editable installation takes the page from the checkout, where it may be built later:
        `scripts/make_venv.sh` makes one before there is a page.
        """
        if version != "editable" and not (Path(self.root) / PAGE).is_file():
            self.app.abort(f"The page is not built: {PAGE} is missing. Run: make page")
