"""What a tick costs by the number of running processes: with nothing to do, and with indexes to look at."""

import asyncio
import contextlib
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import psutil
from sqlalchemy import text

from benchmarks.cpu import by_component
from benchmarks.scaling import rows
from lib import llm
from lib.database import Database
from lib.garbage import spare_the_collector
from lib.monitoring.stages import STAGES, Stage
from lib.settings import settings as read_settings
from tests.world import World

PROCESSES = (10, 100, 1_000, 10_000)
TEN_TIMES = 100_000
COMMENTS_EACH = 10
ROUNDS = 5
LOOKS = 100  # processes whose turn it is to look at an index
REST_SECONDS = 4.0
FLOWS = "flows"
Flow = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class TickFigure:
    """Of one tick of all four stages: milliseconds, round trips, and milliseconds of CPU by component."""

    processes: int
    comments: int
    ms: Mapping[Stage, float]
    round_trips: float
    cpu: Mapping[str, float]

    @property
    def total(self) -> float:
        """Milliseconds of the four one after the other."""
        return sum(self.ms.values())


@dataclass(frozen=True)
class LookFigure:
    """Of one process's look at an index that shows nothing new: milliseconds of CPU by component, and of the tick."""

    processes: int
    seconds: float
    cpu: Mapping[str, float]
    round_trips: float


def flows() -> Mapping[Stage, Flow]:
    """The stages as they run in a worker; it has long loaded what they need."""
    from flows.discover_articles import discover_articles  # noqa: PLC0415 - Prefect reads the environment first
    from flows.generate_comments_for_articles import generate_comments_for_articles  # noqa: PLC0415
    from flows.post_comments_for_articles import post_comments_for_articles  # noqa: PLC0415
    from flows.prepare_content_of_articles import prepare_content_of_articles  # noqa: PLC0415

    four = discover_articles, prepare_content_of_articles, generate_comments_for_articles, post_comments_for_articles
    return dict(zip(STAGES, four, strict=True))


async def measure(database: Database, site: str, sizes: Sequence[int]) -> tuple[list[TickFigure], LookFigure]:
    """On a database that has neither processes nor comments yet."""
    llm.load()
    await rows.parts(World(read_settings(), database, site))
    figures = []
    for number in sizes:
        await rows.add_processes(database, number)
        await rows.add_comments(database, number * COMMENTS_EACH, waiting=0)
        figures.append(await _idle(number))
        if number == sizes[0]:
            spare_the_collector()
    return figures, await _looks(database)


async def _idle(processes: int) -> TickFigure:
    times: dict[Stage, list[float]] = {stage: [] for stage in STAGES}
    for flow in flows().values():
        await flow()
    with _counting() as opened:
        async with _CPU() as used:
            for _ in range(ROUNDS):
                for stage, flow in flows().items():
                    began = time.perf_counter()
                    await flow()
                    times[stage].append((time.perf_counter() - began) * 1000)
    middle = {stage: statistics.median(each) for stage, each in times.items()}
    cpu = {what: seconds / ROUNDS * 1000 for what, seconds in used.seconds.items()}
    return TickFigure(processes, processes * COMMENTS_EACH, middle, _round_trips(opened) / ROUNDS, cpu)


async def _looks(database: Database) -> LookFigure:
    """The tick of discovery over processes whose indexes show nothing for them."""
    await _let_look(database)
    look = flows()["discovery"]
    await look()  # logs in, too
    spent, seconds, trips = list[Mapping[str, float]](), list[float](), list[float]()
    for _ in range(ROUNDS):
        await _let_look(database)
        with _counting() as opened:
            async with _CPU() as used:
                began = time.perf_counter()
                await look()
                seconds.append(time.perf_counter() - began)
        spent.append(used.seconds)
        trips.append(_round_trips(opened) / LOOKS)
    cpu = {what: statistics.median(each[what] for each in spent) / LOOKS * 1000 for what in spent[0]}
    return LookFigure(LOOKS, statistics.median(seconds), cpu, statistics.median(trips))


async def _let_look(database: Database) -> None:
    """Some processes look now, each with the one login that it has, for what no article is called."""
    some = "(SELECT id FROM monitoring_processes ORDER BY id LIMIT :number)"
    async with database.session() as session:
        await session.execute(
            text(f"UPDATE monitoring_processes SET tab_filter = 'alle', search_filter = 'unheard' WHERE id IN {some}"),
            {"number": LOOKS},
        )
        await session.execute(
            text(f"UPDATE monitoring_process_logins SET next_look_at = now() WHERE monitoring_process_id IN {some}"),
            {"number": LOOKS},
        )


@contextlib.contextmanager
def _counting() -> Iterator[list[Database]]:
    """The databases that are opened meanwhile."""
    opened: list[Database] = []
    enter = Database.__aenter__

    async def remembering(self: Database) -> Database:
        opened.append(self)
        return await enter(self)

    Database.__aenter__ = remembering  # type: ignore[method-assign,assignment]
    try:
        yield opened
    finally:
        Database.__aenter__ = enter  # type: ignore[method-assign]


def _round_trips(opened: Sequence[Database]) -> float:
    return sum(each.measures.round_trips for each in opened)


class _CPU:
    """Seconds of CPU by component while the block runs, without what they take at rest."""

    def __init__(self) -> None:
        self.seconds: Mapping[str, float] = {}

    async def __aenter__(self) -> Self:
        before = _cpu()
        await asyncio.sleep(REST_SECONDS)
        self._before, self._began = _cpu(), time.perf_counter()
        self._rest = {what: (self._before[what] - before[what]) / REST_SECONDS for what in before}
        return self

    async def __aexit__(self, *_: object) -> None:
        seconds, now = time.perf_counter() - self._began, _cpu()
        self.seconds = {what: max(0.0, now[what] - self._before[what] - self._rest[what] * seconds) for what in now}


def _cpu() -> dict[str, float]:
    times = psutil.Process().cpu_times()
    return {FLOWS: float(times.user + times.system), **by_component()}
