"""Twenty small processes beside one that has thousands of articles waiting: how much longer do they take than alone?

All share one model (20 calls at once) and one worker with item task runs on; every process has its own share of the
site's accounts. Rounds alone and beside alternate, so that what else the machine does meets both.
"""

import asyncio
import contextlib
import os
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx
from sqlalchemy import text

from benchmarks import charts as draw
from benchmarks.goals import Goal
from benchmarks.ground import EVERYBODY, ground
from benchmarks.scaling import events
from lib import llm
from lib.database import Database
from lib.garbage import spare_the_collector
from lib.settings import settings as read_settings
from playground.accounts import BOTS
from tests.world import World

BIG, SMALL, EACH = 5_000, 20, 5
LLM_SECONDS, PAGE_SECONDS, AT_ONCE = 1.0, 0.05, 20
ROUNDS = 3
AHEAD = 10.0  # seconds that the big one is at work before the others come
TICK = 15.0
STAGGER = 0.5
PATIENCE = 300.0
GOAL = 2.0
BULK = 1_000
ALONE, TOGETHER, LATER = "alone", "beside it, begun together", "beside it, begun later"


@dataclass(frozen=True)
class FairFigure:
    """One way of running: seconds until the small ones had everything posted, and what the big one did meanwhile."""

    name: str
    middle: float
    """Of the median process, in the median round."""
    last: float
    """Of the last process, in the median round."""
    big_generated: float
    """Comments of the big one a second."""
    rounds: Sequence[float]


@dataclass(frozen=True)
class _Round:
    finished: Sequence[float]
    big: float


Flow = Callable[[], Awaitable[object]]


def run() -> list[FairFigure]:
    os.environ.update(EVERYBODY)
    os.environ |= {"PREFECT_LOGGING_LEVEL": "CRITICAL", "PREFECT_LOGGING_TO_API_ENABLED": "false"}
    with ground(LLM_SECONDS, PAGE_SECONDS) as there:
        read_settings.cache_clear()
        figures = asyncio.run(_run(there.site))
        events.send()
        return figures


async def _run(site: str) -> list[FairFigure]:
    settings = read_settings()
    assert settings.database_url
    async with Database(settings.database_url) as database:
        await _idle_ticks()
        field = await _Field.made(World(settings, database, site))
        rounds: dict[str, list[_Round]] = {ALONE: [], TOGETHER: [], LATER: []}
        for _ in range(ROUNDS):
            for name, found in rounds.items():
                found.append(await field.round(name))
    return [_figure(name, found) for name, found in rounds.items()]


def _figure(name: str, rounds: Sequence[_Round]) -> FairFigure:
    last = [max(each.finished) for each in rounds]
    return FairFigure(
        name,
        statistics.median(statistics.median(each.finished) for each in rounds),
        statistics.median(last),
        statistics.median(each.big for each in rounds),
        last,
    )


def _flows() -> Sequence[Flow]:
    from flows.generate_comments_for_articles import generate_comments_for_articles  # noqa: PLC0415 - Prefect reads
    from flows.post_comments_for_articles import post_comments_for_articles  # noqa: PLC0415 - the environment
    from flows.prepare_content_of_articles import prepare_content_of_articles  # noqa: PLC0415 - when it is imported

    return (prepare_content_of_articles, generate_comments_for_articles, post_comments_for_articles)


async def _idle_ticks() -> None:
    """A worker has long loaded its modules."""
    llm.load()
    for flow in _flows():
        await flow()
    spare_the_collector()


@dataclass(frozen=True)
class _Field:
    """The processes, of which the big one runs only where it is asked for."""

    world: World
    big: UUID
    small: Sequence[UUID]

    @classmethod
    async def made(cls, world: World) -> "_Field":
        template = await world.template()
        provider = await world.provider(max_concurrency=AT_ONCE)
        logins = [await world.login(f"login {number}", bot.username) for number, bot in enumerate(BOTS)]
        parts = {"templates": [template], "provider": provider}

        async def process(name: str, login: UUID) -> UUID:
            return await world.process(name, logins=[login], **parts)  # type: ignore[arg-type]

        small = [await process(f"small {number}", logins[1 + number % (len(logins) - 1)]) for number in range(SMALL)]
        big = await process("big", logins[0])
        field = cls(world, big, small)
        async with world.database.session() as session:  # what there is to do is put there, not found
            later = "UPDATE monitoring_process_logins SET next_look_at = now() + interval '1 day'"
            await session.execute(text(later))
        await field._let_big_run(run=False)
        await field._articles(big, 1, BIG)
        return field

    async def round(self, name: str) -> _Round:
        """New articles for the small ones, until all of them are posted."""
        await self._let_big_run(run=name != ALONE)
        async with self._ticking() as tick:
            if name == LATER:
                await asyncio.sleep(AHEAD)
            generated = await self._generated()
            for number, process in enumerate(self.small):
                await self._articles(process, 2 + number, EACH)
            began = await self._clock()
            tick()
            await self._all_posted()
            seconds = await self._clock() - began
            big = (await self._generated() - generated) / seconds
        return _Round([end - began for end in await self._ends()], big)

    async def _articles(self, process: UUID, tab: int, number: int) -> None:
        async with httpx.AsyncClient(base_url=self.world.site, timeout=120) as client:
            while number > 0:
                asked = {"tab": str(7000 + tab), "count": min(number, BULK)}
                made = await client.post("/control/articles", json=asked)
                made.raise_for_status()
                ids = sorted(int(each) for each in made.json()["ids"])
                await self.world.comments(process, len(ids), first=ids[0])
                number -= len(ids)

    async def _let_big_run(self, *, run: bool) -> None:
        statement = "UPDATE monitoring_processes SET status = :status WHERE id = :process"
        async with self.world.database.session() as session:
            await session.execute(text(statement), {"status": "running" if run else "stopped", "process": self.big})

    @contextlib.asynccontextmanager
    async def _ticking(self) -> AsyncIterator[Callable[[], None]]:
        """A tick of each stage now and every so often, whether or not the last one is over, as a schedule has it."""
        running: set[asyncio.Task[object]] = set()

        async def begin(number: int, flow: Flow) -> None:
            # No Prefect has the later stages started here: each comes when the one before has begun.
            await asyncio.sleep(number * STAGGER)
            await flow()

        def tick() -> None:
            running.update(asyncio.ensure_future(begin(*each)) for each in enumerate(_flows()))

        async def again_and_again() -> None:
            while True:
                tick()
                await asyncio.sleep(TICK)

        running.add(asyncio.create_task(again_and_again()))
        try:
            yield tick
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _all_posted(self) -> None:
        statement = "SELECT count(*) FROM ai_comments WHERE monitoring_process_id = ANY(:small) AND status <> 'posted'"
        async with asyncio.timeout(PATIENCE):
            while await self._one(statement, small=list(self.small)):  # noqa: ASYNC110 - another process may post
                await asyncio.sleep(0.1)

    async def _ends(self) -> list[float]:
        """When each small process had its last post, by the database's clock."""
        statement = """SELECT extract(epoch FROM max(posted_at))::float AS at FROM ai_comments
            WHERE monitoring_process_id = ANY(:small) GROUP BY monitoring_process_id"""
        async with self.world.database.session() as session:
            return [row.at for row in await session.execute(text(statement), {"small": list(self.small)})]

    async def _generated(self) -> float:
        statement = """SELECT count(*) FROM ai_comments
            WHERE monitoring_process_id = :big AND status IN ('generated', 'posted')"""
        return await self._one(statement, big=self.big)

    async def _clock(self) -> float:
        return await self._one("SELECT extract(epoch FROM clock_timestamp())::float")

    async def _one(self, statement: str, **given: object) -> float:
        async with self.world.database.session() as session:
            return float(await session.scalar(text(statement), given) or 0)


def _ratio(figures: Sequence[FairFigure], name: str) -> float:
    by_name = {each.name: each for each in figures}
    return by_name[name].last / by_name[ALONE].last


def report(figures: Sequence[FairFigure]) -> str:
    lines = [
        f"## {SMALL} processes with {EACH} articles each, beside one with {BIG:,}",
        "",
        f"Pages {PAGE_SECONDS * 1000:.0f} ms, model {LLM_SECONDS:g} s, {AT_ONCE} calls at once for all of them.",
        f"Seconds until everything of the small ones is posted; {ROUNDS} rounds, medians. Begun later: the big one has",
        f"been at work for {AHEAD:g} s. The flows run in one process with a server of Prefect, each",
        f"every {TICK:g} s, item runs on, without a worker's queue; discovery is done before. Begun together: the big",
        "one has had the moment that it takes to put the articles of the small ones there.",
        "",
        "| | median process | last process | × alone | rounds | the big one generates a second |",
        "|---|---|---|---|---|---|",
    ]
    for each in figures:
        rounds = ", ".join(f"{seconds:.1f}" for seconds in each.rounds)
        row = (f"{each.middle:.1f}", f"{each.last:.1f}", f"{_ratio(figures, each.name):.2f}", rounds)
        lines.append(f"| {each.name} | {' | '.join(row)} | {each.big_generated:.1f} |")
    return "\n".join(lines) + "\n"


def charts(figures: Sequence[FairFigure]) -> dict[str, str]:
    times = {each.name: [each.middle, each.last] for each in figures}
    about = "; ".join(f"{each.name}: the last of the small ones after {each.last:.1f} s" for each in figures)
    title, series = "Seconds until the small ones are done", ("median process", "last process")
    return {"small": draw.bars(title, about, times, series, goal=GOAL * figures[0].last)}


def goals(figures: Sequence[FairFigure]) -> list[Goal]:
    return [
        Goal(
            f"{SMALL} small processes {each.name}",
            f"≤ {GOAL:g} × alone",
            f"{_ratio(figures, each.name):.2f} × alone",
            _ratio(figures, each.name) <= GOAL,
        )
        for each in figures
        if each.name != ALONE
    ]
