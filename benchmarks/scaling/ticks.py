"""What a tick costs by the number of running processes: with nothing to do, and with indexes to look at."""

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

import psutil
from sqlalchemy import URL, text

from benchmarks.cpu import by_component
from benchmarks.scaling import rows
from lib import llm, migrate
from lib.database import Database
from lib.garbage import spare_the_collector
from lib.monitoring.stages import STAGES, Stage
from lib.settings import settings as read_settings
from tests.world import World

PROCESSES = (10, 100, 1_000, 10_000)
TEN_TIMES = 100_000
COMMENTS_EACH = 10
ROUNDS = 5
IN_A_ROW = 5  # ticks of a round
LOOKS = 100  # processes whose turn it is to look at an index
REST_SECONDS = 4.0
CALM_SECONDS = 0.5  # in which Prefect's server records what was
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
    """Each in a database of its own, beside the given one; the looks in the largest."""
    llm.load()
    seen = [await _Seen(number, await _create(database, number)).fill(site) for number in sizes]
    await _in_turns(seen)
    with _set(seen[-1].url):
        async with Database(seen[-1].url, pool_size=1) as largest:
            return [each.figure() for each in seen], await _looks(largest)


async def _create(database: Database, number: int) -> str:
    """An empty database on the same server; its address."""
    address, name = database.engine.url, f"ticks_{number}"
    async with Database(_text(address.set(database="postgres")), pool_size=1) as server, server.alone() as connection:
        await connection.execute(text(f'CREATE DATABASE "{name}"'))
    return _text(address.set(database=name))


def _text(address: URL) -> str:
    return address.render_as_string(hide_password=False)


@contextlib.contextmanager
def _set(url: str) -> Iterator[None]:
    """The flows' database."""
    name = "PRESSROOM_DATABASE_URL"
    before = os.environ[name]
    os.environ[name] = url
    read_settings.cache_clear()
    try:
        yield
    finally:
        os.environ[name] = before
        read_settings.cache_clear()


@dataclass
class _Seen:
    """The ticks over a database of so many processes."""

    processes: int
    url: str
    ms: dict[Stage, list[float]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds."""
    round_trips: float = 0.0

    async def fill(self, site: str) -> Self:
        """With processes that have nothing to do, and their comments."""
        async with Database(self.url) as database:
            await migrate.upgrade(database)
            await rows.parts(World(read_settings(), database, site))
            await rows.add_processes(database, self.processes)
            await rows.add_comments(database, self.processes * COMMENTS_EACH, waiting=0)
        return self

    def figure(self) -> TickFigure:
        middle = {stage: statistics.median(each) for stage, each in self.ms.items()}
        ticks = len(self.ms["discovery"])
        cpu = {what: seconds / ticks * 1000 for what, seconds in self.cpu.items()}
        return TickFigure(self.processes, self.processes * COMMENTS_EACH, middle, self.round_trips / ticks, cpu)


async def _in_turns(seen: Sequence[_Seen]) -> None:
    """The sizes in turns, so that what else the machine does meanwhile meets all of them."""
    rest = await _rest()
    for number in range(1 + ROUNDS):
        for each in seen:
            with _set(each.url):
                # The first one warms up.
                await _round(each if number else _Seen(each.processes, each.url), rest)
        if not number:
            spare_the_collector()


async def _round(seen: _Seen, rest: Mapping[str, float]) -> None:
    with _counting() as opened:
        async with _CPU(rest) as used:
            for _ in range(IN_A_ROW):
                for stage, flow in flows().items():
                    began = time.perf_counter()
                    await flow()
                    seen.ms[stage].append((time.perf_counter() - began) * 1000)
            await asyncio.sleep(CALM_SECONDS)
    seen.cpu = {what: seen.cpu.get(what, 0.0) + seconds for what, seconds in used.seconds.items()}
    seen.round_trips += _round_trips(opened)


async def _looks(database: Database) -> LookFigure:
    """The tick of discovery over processes whose indexes show nothing for them."""
    await _let_look(database)
    look = flows()["discovery"]
    await look()  # logs in, too
    spent, seconds, trips = list[Mapping[str, float]](), list[float](), list[float]()
    for _ in range(ROUNDS):
        await _let_look(database)
        rest = await _rest()
        with _counting() as opened:
            async with _CPU(rest) as used:
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


async def _rest() -> Mapping[str, float]:
    """Seconds of CPU a second by component while nothing runs."""
    before = _cpu()
    await asyncio.sleep(REST_SECONDS)
    after = _cpu()
    return {what: (after[what] - before[what]) / REST_SECONDS for what in before}


class _CPU:
    """Seconds of CPU by component while the block runs, without what they take at rest."""

    def __init__(self, rest: Mapping[str, float]) -> None:
        self.seconds: Mapping[str, float] = {}
        self._rest = rest

    async def __aenter__(self) -> Self:
        self._before, self._began = _cpu(), time.perf_counter()
        return self

    async def __aexit__(self, *_: object) -> None:
        seconds, now = time.perf_counter() - self._began, _cpu()
        self.seconds = {what: max(0.0, now[what] - self._before[what] - self._rest[what] * seconds) for what in now}


def _cpu() -> dict[str, float]:
    times = psutil.Process().cpu_times()
    return {FLOWS: float(times.user + times.system), **by_component()}
