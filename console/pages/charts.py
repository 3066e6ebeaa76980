"""Numbers turned into the sizes of SVG shapes. Words and colours are the templates'."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# What is there at all is seen, however little it is of the whole.
LEAST = 3.0


@dataclass(frozen=True)
class Segment:
    """A part of a bar, in percent of its width. `kind` is also its class."""

    kind: str
    x: float
    width: float


def bar(parts: Mapping[str, int]) -> tuple[Segment, ...]:
    """The parts side by side, in the order given; nothing for those of 0."""
    there = {kind: number for kind, number in parts.items() if number > 0}
    whole = sum(there.values())
    widths = {kind: max(LEAST, 100 * number / whole) for kind, number in there.items()}
    scale = 100 / sum(widths.values()) if widths else 1.0
    found: list[Segment] = []
    x = 0.0
    for kind, width in widths.items():
        found.append(Segment(kind, round(x, 2), round(width * scale, 2)))
        x += width * scale
    return tuple(found)


@dataclass(frozen=True)
class Column:
    """One bar of a chart, and the place behind it that the pointer finds."""

    x: float
    y: float
    width: float
    height: float
    value: int


@dataclass(frozen=True)
class Chart:
    """Bars over a line, in the units of its view box. `peak`: which of them is the highest, counted from the end."""

    columns: tuple[Column, ...]
    width: float
    height: float
    highest: int
    total: int
    peak: int


def chart(values: Sequence[int], *, width: float = 480, height: float = 80, gap: float = 3) -> Chart:
    """The oldest at the left. Where all are 0, there is no bar."""
    highest = max(values, default=0)
    step = width / max(1, len(values))
    columns = []
    for place, value in enumerate(values):
        tall = max(LEAST, height * value / highest) if value else 0.0
        columns.append(
            Column(
                round(place * step + gap / 2, 2), round(height - tall, 2), round(step - gap, 2), round(tall, 2), value
            )
        )
    last = max((place for place, value in enumerate(values) if value == highest), default=0)
    return Chart(tuple(columns), width, height, highest, sum(values), len(values) - 1 - last)


@dataclass(frozen=True)
class Stack:
    """One bar of two parts, the second on top of the first: each by its upper edge and height."""

    x: float
    width: float
    good_y: float
    good: float
    bad_y: float
    bad: float


def stacked(
    values: Sequence[tuple[int, int]], *, width: float = 240, height: float = 36, gap: float = 2
) -> tuple[Stack, ...]:
    """Bars of successes with failures on top, the oldest at the left; nothing for those without any."""
    highest = max((good + bad for good, bad in values), default=0)
    step = width / max(1, len(values))
    room = height - LEAST  # what the smaller part may need to be seen
    found = []
    for place, (good, bad) in enumerate(values):
        if not good + bad:
            continue
        tall_good = max(LEAST, room * good / highest) if good else 0.0
        tall_bad = max(LEAST, room * bad / highest) if bad else 0.0
        found.append(
            Stack(
                round(place * step + gap / 2, 2),
                round(step - gap, 2),
                round(height - tall_good, 2),
                round(tall_good, 2),
                round(height - tall_good - tall_bad, 2),
                round(tall_bad, 2),
            )
        )
    return tuple(found)
