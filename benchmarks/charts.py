"""Small charts as SVG: bars in groups, and lines with linear or logarithmic axes. No script, no dependency.

Each follows the reader's light or dark scheme, carries its title and what it says for those who do not see it, and
prints its figures, so that nothing rests on colour or on measuring by eye.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr

WIDTH = 760
EDGE = 20
TOP = 64
BAR, GAP = 18, 14
PLOT_HEIGHT = 260
LETTER = 6.7  # width of one at 12 px, rather too much
COLOURS = (
    ("#1f6feb", "#79b8ff"),
    ("#b45309", "#f0a54a"),
    ("#1a7f4b", "#5fd39a"),
    ("#8250df", "#c8a6ff"),
    ("#b4233c", "#ff8a98"),
    ("#57606a", "#b1bac4"),
)
DASHES = ("", "7 4", "2 3", "9 3 2 3", "5 2", "1 4")


@dataclass(frozen=True)
class Axis:
    """What is counted along it."""

    title: str
    log: bool = False


@dataclass(frozen=True)
class Line:
    """Points in the order of x."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Scale:
    """From a value to a place."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        at = (_log(value) - _log(self.low)) / (_log(self.high) - _log(self.low)) if self.log else self._part(value)
        return self.start + at * (self.end - self.start)

    def _part(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def bars(
    title: str,
    about: str,
    groups: Mapping[str, Sequence[float | None]],
    series: Sequence[str] = ("",),
    *,
    goal: float | None = None,
    log: bool = False,
) -> str:
    """One bar of every series in each group. `goal` is drawn as a line across; a missing value as a dash.

    Raise ValueError for a group whose number of values is not that of the series.
    """
    if any(len(values) != len(series) for values in groups.values()):
        raise ValueError("Every group has one value of each series")
    left = min(260.0, EDGE + LETTER * max(map(len, groups))) + 8
    every = [value for values in groups.values() for value in values if value is not None] + [goal or 0.0]
    scale = _of_bars(every, left, log=log)
    height = TOP + len(groups) * (len(series) * BAR + GAP) + EDGE
    return _svg(title, about, height, "".join((_legend(series), *_groups(groups, scale, left, height, goal))))


def _of_bars(every: Sequence[float], left: float, *, log: bool) -> _Scale:
    above = [value for value in every if value > 0] or [1.0]
    low = 10 ** math.floor(_log(min(above)) - 0.01) if log else 0.0
    return _Scale(low, max(above), left, WIDTH - EDGE - 70, log)


def _groups(
    groups: Mapping[str, Sequence[float | None]], scale: _Scale, left: float, height: float, goal: float | None
) -> Iterator[str]:
    y: float = TOP
    for name, values in groups.items():
        yield _text(left - 8, y + len(values) * BAR / 2 + 4, name, "end")
        for index, value in enumerate(values):
            yield _bar(index, value, scale, y + index * BAR)
        y += len(values) * BAR + GAP
    yield f'<path class="axis" d="M{left:.1f} {TOP - 6}V{height - EDGE:.1f}"/>'
    if goal is not None:
        yield f'<path class="goal" d="M{scale(goal):.1f} {TOP - 6}V{height - EDGE:.1f}"/>'
        yield _text(scale(goal), TOP - 10, f"goal {number(goal)}", "middle", "small")


def _bar(index: int, value: float | None, scale: _Scale, y: float) -> str:
    if value is None:
        return _text(scale.start + 6, y + 13, "–")
    width = max(1.0, scale(max(value, scale.low)) - scale.start)
    drawn = f'<rect class="fill{index % len(COLOURS)}" x="{scale.start:.1f}" y="{y + 1:.1f}" width="{width:.1f}"'
    return f'{drawn} height="{BAR - 3}" rx="2"/>' + _text(scale.start + width + 6, y + 13, number(value))


def lines(
    title: str, about: str, drawn: Sequence[Line], x: Axis, y: Axis, *, goal: tuple[str, float] | None = None
) -> str:
    """Lines with a mark and a figure at each point. `goal`: its name and its height.

    Raise ValueError when there is no point at all.
    """
    points = [point for line in drawn for point in line.points]
    if not points:
        raise ValueError("There is nothing to draw")
    left, top, bottom = 74.0, TOP + 20, TOP + 20 + PLOT_HEIGHT
    heights = [value for _, value in points] + ([goal[1]] if goal else [])
    across = _span([value for value, _ in points], left + 26, WIDTH - 110.0, log=x.log, from_zero=False)
    up = _span(heights, bottom, top, log=y.log, from_zero=True)
    parts = [_legend([line.name for line in drawn]), *_grid(across, up, left, bottom)]
    parts.append(_text(WIDTH - 90, bottom + 36, x.title, "end", "small"))
    parts.append(_text(EDGE, TOP, y.title, "start", "small"))
    if goal is not None:
        parts.append(f'<path class="goal" d="M{left} {up(goal[1]):.1f}H{WIDTH - 90}"/>')
        parts.append(_text(WIDTH - 84, up(goal[1]) + 4, goal[0], "start", "small"))
    parts += [_line(index, line, across, up) for index, line in enumerate(drawn)]
    return _svg(title, about, bottom + 48, "".join(parts))


def _line(index: int, line: Line, across: _Scale, up: _Scale) -> str:
    places = [(across(x), up(y), y) for x, y in line.points]
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y, _ in places)
    colour, dash = index % len(COLOURS), DASHES[index % len(DASHES)]
    marks = "".join(f'<circle class="fill{colour}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y, _ in places)
    above = -9 if index % 2 == 0 else 18
    figures = "".join(_text(x, y + above, number(value), "middle", f"ink{colour}") for x, y, value in places)
    return f'<path class="line{colour}" stroke-dasharray="{dash}" d="{path}"/>{marks}{figures}'


def _span(values: Sequence[float], start: float, end: float, *, log: bool, from_zero: bool) -> _Scale:
    low, high = min(values), max(values)
    if log:
        # Whole decades, so that the axis begins and ends at a line of the grid.
        low, high = 10 ** math.floor(_log(low) + 1e-9), 10 ** math.ceil(_log(high) - 1e-9)
        return _Scale(low, high if high > low else low * 10, start, end, log)
    low = 0.0 if from_zero else low
    return _Scale(low, high if high > low else low + 1, start, end, log)


def _grid(across: _Scale, up: _Scale, left: float, bottom: float) -> Iterator[str]:
    for value in _ticks(across):
        yield _text(across(value), bottom + 18, number(value), "middle", "small")
    for value in _ticks(up):
        yield f'<path class="grid" d="M{left} {up(value):.1f}H{WIDTH - 90}"/>'
        yield _text(left - 8, up(value) + 4, number(value), "end", "small")
    yield f'<path class="axis" d="M{left} {up.end}V{bottom}H{WIDTH - 90}"/>'


def _ticks(scale: _Scale) -> list[float]:
    if scale.log:
        first, last = round(_log(scale.low)), round(_log(scale.high))
        return [10.0**power for power in range(first, last + 1)]
    step = _round_step((scale.high - scale.low) / 4)
    count = int((scale.high - scale.low) / step + 1e-9)
    return [scale.low + step * index for index in range(count + 1)]


def _round_step(rough: float) -> float:
    power = 10 ** math.floor(_log(rough))
    return float(next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999))


def _log(value: float) -> float:
    return math.log10(max(value, 1e-12))


def number(value: float) -> str:
    """Three digits or more: 0.042, 1.25, 42, 4,200, 10M."""
    if value >= 10_000_000:
        return f"{value / 1e6:,.0f}M"
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = max(0, 2 - math.floor(_log(abs(value))))
    shown = f"{value:.{digits}f}"
    return shown.rstrip("0").rstrip(".") if "." in shown else shown


def _legend(names: Sequence[str]) -> str:
    if len(names) == 1:
        return ""
    x, parts = float(EDGE), []
    for index, name in enumerate(names):
        parts.append(f'<rect class="fill{index % len(COLOURS)}" x="{x:.1f}" y="32" width="11" height="11" rx="2"/>')
        parts.append(_text(x + 16, 42, name, "start", "small"))
        x += 30 + LETTER * len(name)
    return "".join(parts)


def _text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> str:
    of_kind = f' class="{kind}"' if kind else ""
    return f'<text{of_kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _svg(title: str, about: str, height: float, body: str) -> str:
    """`about` says what the chart shows, for those who do not see it."""
    size = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(title)}>'
    said = f"<title>{escape(title)}</title><desc>{escape(about)}</desc><style>{_style()}</style>"
    heading = _text(EDGE, 22, title, "start", "title")
    return f'{head}{said}<rect class="ground" width="100%" height="100%"/>{heading}{body}</svg>\n'


def _style() -> str:
    light, dark = (
        f".ground{{fill:{ground}}}text{{fill:{ink}}}.small{{fill:{soft}}}.grid{{stroke:{faint}}}"
        f".axis{{stroke:{soft}}}.goal{{stroke:{ink}}}"
        + "".join(
            f".fill{index}{{fill:{colour}}}.ink{index}{{fill:{colour}}}.line{index}{{stroke:{colour}}}"
            for index, colour in enumerate(colours)
        )
        for ground, ink, soft, faint, colours in (
            ("#ffffff", "#1f2328", "#57606a", "#e4e8ec", [light for light, _ in COLOURS]),
            ("#0d1117", "#e6edf3", "#a3adb8", "#2a3038", [dark for _, dark in COLOURS]),
        )
    )
    shape = (
        "text{font:12px system-ui,sans-serif}.title{font-size:15px;font-weight:600}.small{font-size:11px}"
        "path{fill:none}.axis,.grid{stroke-width:1}.goal{stroke-width:1.5;stroke-dasharray:5 4}"
        + ",".join(f".line{index}" for index in range(len(COLOURS)))
        + "{stroke-width:2.5}"
    )
    return f"{light}{shape}@media (prefers-color-scheme:dark){{{dark}}}"
