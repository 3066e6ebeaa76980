"""How far it goes: idle ticks over many processes, claims in large tables, several workers, and a million on paper."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from benchmarks import charts as draw
from benchmarks.charts import Axis, Line
from benchmarks.goals import Goal
from benchmarks.ground import EVERYBODY, Ground, ground
from benchmarks.scaling import claims, events, paper, ticks, told, workers
from benchmarks.scaling.ticks import LookFigure, TickFigure
from benchmarks.scaling.told import ScaleFigures
from lib.database import Database
from lib.settings import settings as read_settings

LLM_SECONDS, PAGE_SECONDS = 1.0, 0.05
FLAT, PREDICTED = 1.5, 1.5
TICK_SIZE, ROUND_TRIPS, STAGE_SECONDS = 1_000, 10, 2.0  # issue 2
SETTINGS = EVERYBODY
T = TypeVar("T")


def run() -> ScaleFigures:
    with _apart():
        claimed = claims.run()
    (*ticked, larger), look = _grounded(_ticks)
    worked = _grounded(workers.measure)
    model = paper.model(ticked, larger, look, claimed, worked[0], read_settings())
    return ScaleFigures(ticked, larger, look, claimed, worked, model)


async def _ticks(database: Database, site: str) -> tuple[list[TickFigure], LookFigure]:
    return await ticks.measure(database, site, (*ticks.PROCESSES, ticks.TEN_TIMES))


@contextlib.contextmanager
def _apart() -> Iterator[None]:
    """What is measured sets the environment for what it starts; the next is to find none of it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        read_settings.cache_clear()


def _grounded(measure: Callable[[Database, str], Awaitable[T]]) -> T:
    """On a ground of its own, with the settings of every contender."""
    with _apart():
        os.environ.update(EVERYBODY)
        os.environ |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
        with ground(LLM_SECONDS, PAGE_SECONDS) as there:
            read_settings.cache_clear()
            figures = asyncio.run(_measured(there, measure))
            events.send()
            return figures


async def _measured(there: Ground, measure: Callable[[Database, str], Awaitable[T]]) -> T:
    async with Database(there.database_url) as database:
        return await measure(database, there.site)


def report(figures: ScaleFigures) -> str:
    return "\n".join(told.lines(figures))


def charts(figures: ScaleFigures) -> dict[str, str]:
    every = (*figures.ticks, figures.larger)
    rates = [
        Line(stage, [(each.comments, each.rate) for each in figures.claims if each.stage == stage])
        for stage in claims.STAGES
    ]
    tick = [
        Line("milliseconds", [(each.processes, each.total) for each in every]),
        Line("PostgreSQL, CPU ms", [(each.processes, each.cpu.get("PostgreSQL", 0.0)) for each in every]),
    ]
    by_workers = {f"{each.workers} workers": [each.rate] for each in figures.workers}
    claimed = "; ".join(f"{each.name}: " + ", ".join(f"{y:.0f} at {x:,.0f}" for x, y in each.points) for each in rates)
    ticked = ", ".join(f"{each.total:.0f} ms at {each.processes:,}" for each in every)
    worked = ", ".join(f"{each.rate:.1f} with {each.workers}" for each in figures.workers)
    return {
        "claims": draw.lines(
            "Claims and settles a second",
            claimed,
            rates,
            Axis("comments in the table", log=True),
            Axis("items a second"),
        ),
        "ticks": draw.lines(
            "An idle tick of all four stages", ticked, tick, Axis("processes", log=True), Axis("ms", log=True)
        ),
        "workers": draw.bars("Articles a second, through all stages", worked, by_workers),
    }


def goals(figures: ScaleFigures) -> list[Goal]:
    found = [_flat(figures, stage) for stage in claims.STAGES]
    tick = next(each for each in figures.ticks if each.processes == TICK_SIZE)
    trips, slowest = tick.round_trips / len(tick.ms), max(tick.ms.values()) / 1000
    well = trips <= ROUND_TRIPS and slowest <= STAGE_SECONDS
    seen = f"{trips:.1f} round trips and {slowest:.2f} s a stage"
    found.append(Goal(f"idle tick, {TICK_SIZE:,} processes", "≤ 10 round trips and 2 s a stage", seen, well))
    for each in figures.workers:
        done = f"{each.twice} twice, {each.missing} missing, speed-up {figures.workers[0].seconds / each.seconds:.2f}"
        well = not each.twice and not each.missing and each.model_calls == each.articles
        name = "1 worker" if each.workers == 1 else f"{each.workers} workers"
        found.append(Goal(name, "no article done twice or lost", done, well))
    checked = figures.model.check
    seen = f"{checked.ratio:.2f} × what was predicted"
    well = 1 / PREDICTED <= checked.ratio <= PREDICTED
    goal = f"within {PREDICTED:g} × of the model"
    return [*found, Goal(f"a tick of {checked.processes:,} processes", goal, seen, well)]


def _flat(figures: ScaleFigures, stage: str) -> Goal:
    rates = [each.rate for each in figures.claims if each.stage == stage]
    slower = max(rates) / min(rates)
    sizes = [each.comments for each in figures.claims if each.stage == stage]
    what = f"claims of {stage}, {sizes[0]:,} to {sizes[-1]:,} comments"
    return Goal(what, f"the slowest at most {FLAT:g} × slower than the fastest", f"{slower:.2f} ×", slower <= FLAT)
