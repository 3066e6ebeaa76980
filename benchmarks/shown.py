"""Charts and goals of the sections that measure the product by itself."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks import charts
from benchmarks.feed import GOAL_MS, FeedFigure
from benchmarks.goals import Goal
from benchmarks.overhead import Figure
from benchmarks.pages import PageFigure
from benchmarks.recording import GOAL_CPU_MS, GOAL_WALL_PERCENT, RecordingFigure
from benchmarks.taskwatch import SizeFigure, Timed

Svg = Mapping[str, str]
# From issues 2, 3 and 4
TIMES_IDEAL, SESSION_P99, SESSION_MAX, CONNECTIONS = 1.25, 0.05, 0.5, 5
PAGE_P95, PAGE_QUERIES, BROWSER = 200, 8, 1000
METRICS_P95, HISTORY_P95, DROP_SECONDS = 50, 100, 2.0
LONGEST_NAME = 38


def of_overhead(figures: Sequence[Figure]) -> Svg:
    ratios = {each.name: [each.ratio] for each in figures}
    about = "; ".join(f"{each.name}: {each.ratio:.2f} times the ideal" for each in figures)
    return {"ratio": charts.bars("Times the ideal, 500 articles through four stages", about, ratios, goal=TIMES_IDEAL)}


def goals_of_overhead(figures: Sequence[Figure]) -> list[Goal]:
    found = []
    for each in figures:
        if each.sessions is None:
            continue
        have = each.sessions
        well = have.p99 < SESSION_P99 and have.max <= SESSION_MAX and have.peak_connections <= CONNECTIONS
        ratio, counts = f"{each.ratio:.2f} × ideal", not each.name.endswith("off")
        goal, met = (f"≤ {TIMES_IDEAL} × ideal", each.ratio <= TIMES_IDEAL) if counts else ("", None)
        found.append(Goal(each.name, goal, ratio, met))
        seen = f"p99 {have.p99 * 1000:.0f} ms, longest {have.max * 1000:.0f} ms, {have.peak_connections} connections"
        found.append(Goal("its sessions", "p99 < 50 ms, longest ≤ 500 ms, ≤ 5 connections", seen, well))
    return found


def of_pages(figures: Sequence[PageFigure]) -> Svg:
    times = {each.path: [each.p50, each.p95] for each in figures}
    about = f"p95 from {min(each.p95 for each in figures):.0f} to {max(each.p95 for each in figures):.0f} ms"
    return {"p95": charts.bars("Milliseconds of a page", about, times, ("p50", "p95"), goal=PAGE_P95)}


def goals_of_pages(figures: Sequence[PageFigure]) -> list[Goal]:
    slowest = max(figures, key=lambda each: each.p95)
    most = max(figures, key=lambda each: each.queries)
    browser = max(each.browser or 0 for each in figures)
    return [
        Goal("slowest page, p95", "< 200 ms", f"{slowest.p95:.0f} ms (`{slowest.path}`)", slowest.p95 < PAGE_P95),
        Goal("most queries", "≤ 8", f"{most.queries} (`{most.path}`)", most.queries <= PAGE_QUERIES),
        Goal("in Chromium", "< 1,000 ms", f"{browser:.0f} ms at most", browser < BROWSER),
    ]


def goals_of_recording(figures: Sequence[RecordingFigure]) -> list[Goal]:
    return [
        goal
        for each in figures
        for goal in (
            Goal("CPU of recording a task", f"< {GOAL_CPU_MS} ms", f"{each.cpu:.3f} ms", each.cpu < GOAL_CPU_MS),
            Goal(
                "wall time it adds",
                f"< {GOAL_WALL_PERCENT:g} %",
                f"{each.wall_percent:.2f} %",
                each.wall_percent < GOAL_WALL_PERCENT,
            ),
            Goal(
                "records over an outage of PostgreSQL",
                "all, in order",
                f"{each.away_records:,} of {each.away_expected:,}, {'' if each.away_in_order else 'not '}in order",
                each.away_records == each.away_expected and each.away_in_order,
            ),
        )
    ]


def of_taskwatch(figures: Sequence[SizeFigure]) -> Svg:
    names = [each.what for each in figures[0].timed]
    slowest = {
        name[:LONGEST_NAME]: [next(each.slowest for each in size.timed if each.what == name) for size in figures]
        for name in names
    }
    series = [f"{size.records:,} records" for size in figures]
    about = "The slowest filter of each kind of query, p95, at each number of records"
    return {"slowest": charts.bars("p95 of the slowest filter of its kind, ms", about, slowest, series)}


def goals_of_taskwatch(figures: Sequence[SizeFigure]) -> list[Goal]:
    found = []
    for size in figures:
        at = f"{size.records:,} records"
        metrics = next(each for each in size.timed if each.what == "metrics")
        history = max((each for each in size.timed if "history" in each.what), key=_slowest)
        million = size.drop / size.dropped * 1e6 if size.dropped else 0.0
        seen = f"{history.slowest:.0f} ms ({history.what}: {history.which})"
        found += [
            Goal(f"metrics at {at}, p95", "< 50 ms", f"{metrics.p95:.0f} ms", metrics.p95 < METRICS_P95),
            Goal(f"any history page at {at}, p95", "< 100 ms", seen, history.slowest < HISTORY_P95),
            Goal(f"1,000,000 expired of {at}", "< 2 s", f"{million:.2f} s", million < DROP_SECONDS),
        ]
    return found


def _slowest(timed: Timed) -> float:
    return timed.slowest


def of_feed(figures: Sequence[FeedFigure]) -> Svg:
    times = {each.name: [each.p50, each.p95, each.p99] for each in figures}
    about = "; ".join(f"{each.name}: p95 {each.p95:.0f} ms" for each in figures)
    title = "Milliseconds until an event is with a reader"
    return {"latency": charts.bars(title, about, times, ("p50", "p95", "p99"), goal=GOAL_MS)}


def goals_of_feed(figures: Sequence[FeedFigure]) -> list[Goal]:
    end = next(each for each in figures if "start of its write" in each.name)
    return [Goal("event to reader, p95", f"< {GOAL_MS} ms", f"{end.p95:.0f} ms", end.p95 < GOAL_MS)]


CHARTS: Mapping[str, Callable[[Any], Svg]] = {
    "overhead": of_overhead,
    "pages": of_pages,
    "taskwatch": of_taskwatch,
    "feed": of_feed,
}
GOALS: Mapping[str, Callable[[Any], Sequence[Goal]]] = {
    "overhead": goals_of_overhead,
    "pages": goals_of_pages,
    "recording": goals_of_recording,
    "taskwatch": goals_of_taskwatch,
    "feed": goals_of_feed,
}
