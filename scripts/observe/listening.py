"""Where a process listens, as Linux tells it: nothing here may be reached from another machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Final

LISTEN: Final = "0A"
"""The state in the kernel's table. Source: https://docs.kernel.org/networking/proc_net_tcp.html"""


def open_to_others(pid: int) -> list[str]:
    """Return the addresses other than loopback where a process or one that it started listens for TCP.

    Empty where the kernel does not tell: it is Linux that does.
    """
    inodes = {inode for each in family(pid) for inode in _sockets_of(each)}
    return sorted(
        f"{address} port {port}"
        for address, port, inode in _listening()
        if inode in inodes and not address.is_loopback
    )


def family(pid: int) -> list[int]:
    """Return a process's id, those of its children, and so on."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return [pid]
    return [pid, *(each for child in children for each in family(child))]


def _sockets_of(pid: int) -> Iterator[str]:
    """Yield the inodes of a process's sockets."""
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return
    for descriptor in descriptors:
        try:
            target = str(descriptor.readlink())
        except OSError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield target.removeprefix("socket:[").removesuffix("]")


def _listening() -> Iterator[tuple[IPv4Address | IPv6Address, int, str]]:
    """Yield address, port and inode of each socket that listens."""
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == LISTEN:
                address, port = fields[1].split(":")
                yield _address(address), int(port, 16), fields[9]


def _address(text: str) -> IPv4Address | IPv6Address:
    """Return an address that the kernel wrote in hex: 32-bit words, each in the machine's byte order."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    packed = b"".join(word.to_bytes(4, sys.byteorder) for word in words)
    address = ip_address(packed)
    # A loopback address of IPv4 that is written as one of IPv6 is one all the same.
    return getattr(address, "ipv4_mapped", None) or address
