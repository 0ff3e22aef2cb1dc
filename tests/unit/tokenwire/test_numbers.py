"""Numbers in texts."""

import pytest

from tokenwire.numbers import plain_number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (728810000.0, "728810000"),
        (7.2881e8 + 0.25, "728810000.25"),
        (1e21, "1000000000000000000000"),
        (1e-9, "0"),
        (-1e-9, "0"),
        (20, "20"),
        (100.0, "100"),
        (0.5, "0.5"),
        (-1.5, "-1.5"),
        (0.1 + 0.2, "0.3"),
        (0, "0"),
    ],
)
def test_a_number_is_a_plain_decimal(number: float, text: str) -> None:
    """However large or small: `7.2881e+08` is no number of seconds to a reader of digits."""
    assert plain_number(number) == text


def test_whole_numbers_keep_their_zeros() -> None:
    """Without digits behind the point, those before it stay."""
    assert plain_number(1200, 0) == "1200"
