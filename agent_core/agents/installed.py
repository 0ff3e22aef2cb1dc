"""What installed packages offer by a bare name: the entry points of a group.

Only metadata is read. Nothing is imported before it is asked for by its name.

Source: https://packaging.python.org/en/latest/specifications/entry-points/
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import NamedTuple

from agent_core.agents.sources import AgentLoadError, AgentSource, split_place


class Offer(NamedTuple):
    """One entry point."""

    name: str
    place: str
    """`package.module:attribute`, as it stands in the package's metadata: it may be wrong."""
    package: str
    """The package's name and version."""


def offers(group: str) -> Iterator[Offer]:
    """Yield what installed packages offer in a group.

    Raises:
        AgentLoadError: The metadata of a package that seems to offer something can't be read.
    """
    # Not `metadata.entry_points()`: where one package has malformed metadata, it fails without saying which.
    seen = set()
    for distribution in metadata.distributions():
        text = distribution.read_text("entry_points.txt")
        if text is None or group not in text:
            continue
        name = distribution.metadata["Name"]
        # A package that is on the path twice is imported from its first place.
        if name in seen:
            continue
        seen.add(name)
        package = f"{name} {distribution.version}"
        try:
            found = distribution.entry_points.select(group=group)
        except Exception as error:
            raise AgentLoadError(
                f"the entry points of the package {package} can't be read: {error}"
            ) from error
        for entry in found:
            # Extras are allowed, and to be ignored.
            yield Offer(entry.name, entry.value.partition("[")[0].strip(), package)


def find_installed(name: str, group: str, noun: str) -> AgentSource | None:
    """Return where what installed packages offer by a name comes from; None where none offers it.

    Args:
        name: The bare name.
        group: The entry points' group.
        noun: What it is, such as "agent", for messages.

    Raises:
        AgentLoadError: Several packages offer that name, or the one that does has wrong metadata.
    """
    found = [offer for offer in offers(group) if offer.name == name]
    if not found:
        return None
    if len(found) > 1:
        packages = " and ".join(sorted(offer.package for offer in found))
        raise AgentLoadError(
            f"{noun} {name!r} is offered by several installed packages: {packages}. "
            "Uninstall all but one, or name it as name=package.module:attribute"
        )
    (offer,) = found
    place = split_place(offer.place)
    if place is None:
        raise AgentLoadError(
            f"{noun} {name!r} of the package {offer.package}: "
            f"{offer.place!r} does not name an attribute of a module"
        )
    return AgentSource(name, *place, offer.package)
