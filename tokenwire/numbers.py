"""Numbers in texts."""

from __future__ import annotations


def plain_number(number: float, digits: int = 3) -> str:
    """Return a number as a plain decimal: `728810000`, `0.5`, `20`; never with an exponent.

    Args:
        number: A finite one.
        digits: The most digits behind the point.
    """
    text = f"{number:z.{digits}f}"  # z: what rounds to -0 is 0
    return text.rstrip("0").rstrip(".") if digits else text
