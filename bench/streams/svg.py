"""Plots as SVG, written by hand: bars in groups, and lines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Final

WIDTH: Final = 760
TOP: Final = 58
"""Below the title."""
LEFT: Final = 130
RIGHT: Final = 150
"""For the names of lines."""

PLAIN: Final = "#767676"
"""The color of what has none."""
SHADES: Final = (1.0, 0.66, 0.36)
"""How opaque the bars of a group are, from the first to the last."""

BAR: Final = 15
GAP: Final = 14
PLOT_HEIGHT: Final = 300
LABEL_HEIGHT: Final = 15
"""How far apart the names of lines are at least."""

FONT: Final = "font-family='system-ui,-apple-system,Segoe UI,Helvetica,Arial,sans-serif'"


@dataclass(frozen=True)
class Text:
    """What a plot says besides its values."""

    title: str
    about: str
    """One line below the title."""
    x: str = ""
    y: str = ""
    colors: Mapping[str, str] = field(default_factory=dict)
    """By the name of a group or line."""

    def color(self, name: str) -> str:
        """Return the color of a group or line."""
        return self.colors.get(name, PLAIN)


def text(
    at: tuple[float, float], words: str, *, anchor: str = "start", size: int = 12, more: str = ""
) -> str:
    """Return one line of text."""
    place = f"x='{at[0]:.1f}' y='{at[1]:.1f}'"
    return (
        f"<text {place} font-size='{size}' text-anchor='{anchor}' fill='#222' {more}>{escape(words)}</text>"
    )


def document(height: float, about: Text, parts: Iterator[str]) -> str:
    """Return the whole file. The background is white: on a dark page the text stays readable."""
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height:.0f}' width='{WIDTH}' "
        f"height='{height:.0f}' role='img' aria-label='{escape(about.title, quote=True)}' {FONT}>"
    )
    body = [
        f"<rect width='{WIDTH}' height='{height:.0f}' rx='8' fill='#fff'/>",
        text((16, 26), about.title, size=16, more="font-weight='600'"),
        text((16, 45), about.about, more="fill-opacity='.75'"),
        *parts,
    ]
    return "\n".join([head, *body, "</svg>", ""])


def short(value: float) -> str:
    """Return a number with as many digits as a plot needs."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value < 10 and value != int(value) else f"{value:.0f}"


def steps(most: float, wanted: int = 5) -> list[float]:
    """Return round numbers from 0 to at least the most."""
    raw = most / wanted or 1.0
    power = 10 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= raw * 0.999)
    return [number * step for number in range(math.ceil(most / step - 1e-9) + 1)]


def decades(least: float, most: float) -> list[float]:
    """Return the powers of ten around some values."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def bars(about: Text, groups: Mapping[str, Sequence[float | None]], legend: Sequence[str]) -> str:
    """Return bars in groups, from left to right.

    Args:
        about: The words.
        groups: For each group a value for each bar; None for a missing one.
        legend: What each bar of a group is.
    """
    shown = [value for values in groups.values() for value in values if value is not None]
    ticks = steps(max(shown, default=1.0))
    scale = (WIDTH - LEFT - 70) / ticks[-1]
    group_height = BAR * len(legend) + GAP
    bottom = TOP + 26 + group_height * len(groups)

    def parts() -> Iterator[str]:
        for place, name in enumerate(legend if len(legend) > 1 else ()):
            left, opacity = LEFT + place * 120, SHADES[place % len(SHADES)]
            yield f"<rect x='{left}' y='{TOP}' width='11' height='11' fill='#444' fill-opacity='{opacity}'/>"
            yield text((left + 16, TOP + 10), name)
        for tick in ticks:
            x = LEFT + tick * scale
            yield f"<path d='M{x:.1f} {TOP + 20}V{bottom:.1f}' stroke='#ddd'/>"
            yield text((x, bottom + 15), short(tick), anchor="middle", size=11)
        for place, (name, values) in enumerate(groups.items()):
            top = TOP + 26 + place * group_height
            weight = "font-weight='600'" if place == 0 else ""
            middle = top + BAR * len(legend) / 2 + 4
            yield text((LEFT - 8, middle), name, anchor="end", more=weight)
            for row, value in enumerate(values):
                if value is None:
                    continue
                y, color = top + row * BAR, about.color(name)
                opacity = SHADES[row % len(SHADES)]
                size = f"width='{value * scale:.1f}' height='{BAR - 2}'"
                yield f"<rect x='{LEFT}' y='{y:.1f}' {size} fill='{color}' fill-opacity='{opacity}'/>"
                yield text((LEFT + value * scale + 5, y + BAR - 4), short(value), size=11)
        yield text((LEFT, bottom + 33), about.x, size=11, more="fill-opacity='.75'")

    return document(bottom + 44, about, parts())


def lines(about: Text, series: Mapping[str, Sequence[tuple[float, float]]], *, log_y: bool = False) -> str:
    """Return lines with their names at their ends.

    Args:
        about: The words.
        series: Points of each line, by its name.
        log_y: Whether equal ratios are equally far apart; the values are more than 0 then.
    """
    points = [point for line in series.values() for point in line]
    xs = steps(max((x for x, _ in points), default=1.0))
    values = [y for _, y in points] or [1.0]
    ys = decades(min(values), max(values)) if log_y else steps(max(values))
    left, bottom = 70, TOP + PLOT_HEIGHT
    width = WIDTH - left - RIGHT

    def place_x(x: float) -> float:
        return left + x / xs[-1] * width

    def place_y(y: float) -> float:
        low, high = (math.log10(ys[0]), math.log10(ys[-1])) if log_y else (0.0, ys[-1])
        value = math.log10(y) if log_y else y
        return bottom - (value - low) / (high - low) * (PLOT_HEIGHT - 12)

    def parts() -> Iterator[str]:
        for tick in ys:
            y = place_y(tick)
            yield f"<path d='M{left} {y:.1f}H{left + width}' stroke='#ddd'/>"
            yield text((left - 8, y + 4), short(tick), anchor="end", size=11)
        for tick in xs:
            yield text((place_x(tick), bottom + 17), short(tick), anchor="middle", size=11)
        yield text((left + width / 2, bottom + 36), about.x, anchor="middle", size=11)
        yield text((16, TOP + 2), about.y, size=11, more="fill-opacity='.75'")
        for place, (name, line) in enumerate(series.items()):
            color, stroke = about.color(name), 3 if place == 0 else 2
            path = "L".join(f"{place_x(x):.1f} {place_y(y):.1f}" for x, y in line)
            yield f"<path d='M{path}' fill='none' stroke='{color}' stroke-width='{stroke}'/>"
            for x, y in line:
                yield f"<circle cx='{place_x(x):.1f}' cy='{place_y(y):.1f}' r='3' fill='{color}'/>"
        ends = {name: place_y(line[-1][1]) for name, line in series.items()}
        for name, y in apart(ends).items():
            weight = "font-weight='600'" if name == next(iter(series)) else ""
            yield text((place_x(series[name][-1][0]) + 9, y + 4), name, more=weight)

    return document(bottom + 48, about, parts())


def apart(places: Mapping[str, float]) -> dict[str, float]:
    """Return the places, moved down where two names would cover each other."""
    moved: dict[str, float] = {}
    lowest = -math.inf
    for name, place in sorted(places.items(), key=lambda item: item[1]):
        lowest = max(place, lowest + LABEL_HEIGHT)
        moved[name] = lowest
    return moved
