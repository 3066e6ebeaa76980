"""How many comments a second are claimed and settled, by the number of comments in the table.

The product's own `take` and `settle_done` of each stage on its own database, with nothing done in between. Loading is
not durable, measuring is.
"""

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import text

from benchmarks.cpu import seconds_of
from benchmarks.scaling import rows
from lib import migrate, postgres, vault
from lib.database import Database
from lib.llm import Completion
from lib.monitoring import generation, posting, preparation
from lib.monitoring.calls import Call
from lib.monitoring.guard import Verdict
from lib.monitoring.items import CommentToGenerate, Wait
from lib.monitoring.prompt import Prompt
from lib.monitoring.runtime import opened, runtime
from lib.monitoring.stages import Stage
from lib.monitoring.turns import settle_done
from lib.settings import settings as read_settings
from tests.world import World

SIZES = (10_000, 1_000_000, 10_000_000)
PROCESSES = 100
WAITING = 4_500  # at every size, so that the table's is all that differs
AT_ONCE = 4
ITEMS = 250  # of a stage and round
ROUNDS = 3
STAGES: tuple[Stage, ...] = ("preparation", "generation", "posting")
CONTENT = "A short text that a child wrote. " * 10
Take = Callable[[], Awaitable[Any]]


@dataclass(frozen=True)
class ClaimFigure:
    """Of one stage at one size: claims and settles a second, and what one of both costs. Times in milliseconds."""

    comments: int
    waiting: int
    stage: Stage
    rates: Sequence[float]
    """Of each round, in order."""
    claim_p50: float
    claim_p95: float
    settle_p50: float
    cpu: float
    """Of PostgreSQL."""
    blocks: float
    """That PostgreSQL looked at, in memory or not."""
    round_trips: float
    bytes_a_comment: float
    """On disk, indexes included, over the whole table."""

    @property
    def rate(self) -> float:
        return statistics.median(self.rates)


@dataclass
class _Round:
    done: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    blocks: float = 0.0
    round_trips: float = 0.0
    claims: list[float] = field(default_factory=list)
    settles: list[float] = field(default_factory=list)


def run(sizes: Sequence[int] = SIZES) -> list[ClaimFigure]:
    place = Path(tempfile.mkdtemp(prefix="pressroom-bench-"))
    place.chmod(0o755)
    try:
        return asyncio.run(_run(place, sizes))
    finally:
        shutil.rmtree(place, ignore_errors=True)


async def _run(place: Path, sizes: Sequence[int]) -> list[ClaimFigure]:
    os.environ |= {"PRESSROOM_ENCRYPTION_KEYS": vault.new_key(), "PRESSROOM_POST_INTERVAL": "0"}
    os.environ |= {"PRESSROOM_DATA_DIR": str(place), "PRESSROOM_POOL_SIZE": str(AT_ONCE)}
    async with _cluster(place, durable=False) as cluster:
        processes = {size: await _load(cluster, size) for size in sizes}
    await asyncio.to_thread(os.sync)  # what the loading left is not to be written while we measure
    async with _cluster(place, durable=True) as cluster:
        return await _measure(cluster, processes)


@asynccontextmanager
async def _cluster(place: Path, *, durable: bool) -> AsyncIterator[postgres.Cluster]:
    cluster = await postgres.start(place / "cluster", durable=durable)
    try:
        yield cluster
    finally:
        await postgres.stop(cluster, timeout=60)


def _url(cluster: postgres.Cluster, size: int) -> str:
    return cluster.url(f"comments_{size}")


async def _load(cluster: postgres.Cluster, size: int) -> list[UUID]:
    """A database of so many comments; its processes."""
    await postgres.create_database(cluster, f"comments_{size}")
    async with Database(_url(cluster, size)) as database:
        await migrate.upgrade(database)
        read_settings.cache_clear()
        await rows.parts(World(read_settings(), database))
        processes = await rows.add_processes(database, PROCESSES)
        await rows.add_comments(database, size, WAITING)
    return processes


async def _measure(cluster: postgres.Cluster, processes: Mapping[int, Sequence[UUID]]) -> list[ClaimFigure]:
    """The sizes in turns, so that what else the machine does meanwhile meets all of them."""
    rounds: dict[tuple[int, Stage], list[_Round]] = {both: [] for both in product(processes, STAGES)}
    for number in range(1 + ROUNDS):
        for size, stage in product(processes, STAGES):
            found = await _round(_url(cluster, size), cluster.process.pid, stage, processes[size])
            if number:  # the first one warms up
                rounds[size, stage].append(found)
    each = {size: await _bytes(_url(cluster, size)) / size for size in processes}
    return [_figure(size, stage, of_both, each[size]) for (size, stage), of_both in rounds.items()]


async def _bytes(url: str) -> float:
    async with Database(url) as database, database.alone() as connection:
        statement = text("SELECT pg_total_relation_size('ai_comments')")
        return float((await connection.execute(statement)).scalar_one())


def _figure(size: int, stage: Stage, rounds: Sequence[_Round], bytes_each: float) -> ClaimFigure:
    claims = sorted(each * 1000 for found in rounds for each in found.claims)
    settles = sorted(each * 1000 for found in rounds for each in found.settles)
    return ClaimFigure(
        comments=size,
        waiting=WAITING,
        stage=stage,
        rates=sorted(each.done / each.seconds for each in rounds),
        claim_p50=claims[len(claims) // 2],
        claim_p95=claims[int(len(claims) * 0.95)],
        settle_p50=settles[len(settles) // 2],
        cpu=statistics.median(each.cpu / each.done * 1000 for each in rounds),
        blocks=statistics.median(each.blocks / each.done for each in rounds),
        round_trips=statistics.median(each.round_trips / each.done for each in rounds),
        bytes_a_comment=bytes_each,
    )


async def _round(url: str, server: int, stage: Stage, processes: Sequence[UUID]) -> _Round:
    """`server`: the id of PostgreSQL's first process."""
    os.environ["PRESSROOM_DATABASE_URL"] = url
    read_settings.cache_clear()
    found = _Round()
    async with opened() as run:
        takes = [await _take(stage, process) for process in processes]
        blocks, cpu, trips = await _blocks(run.database), seconds_of(server), run.database.figures().round_trips
        found.seconds = await _timed(stage, takes, found)
        found.round_trips = run.database.figures().round_trips - trips
        found.cpu = seconds_of(server) - cpu
        found.blocks = await _blocks(run.database) - blocks
    return found


async def _blocks(database: Database) -> float:
    """So far, of the connections that are closed: they report at their end."""
    await database.engine.dispose()
    statement = "SELECT blks_hit + blks_read FROM pg_stat_database WHERE datname = current_database()"
    async with database.alone() as connection:
        return float((await connection.execute(text(statement))).scalar_one())


async def _timed(stage: Stage, takes: Sequence[Take], found: _Round) -> float:
    """Each of several claimants goes over its share of the processes; seconds for all of them."""
    began = time.perf_counter()
    await asyncio.gather(*(_claimant(stage, takes[number::AT_ONCE], found) for number in range(AT_ONCE)))
    return time.perf_counter() - began


async def _claimant(stage: Stage, takes: Sequence[Take], found: _Round) -> None:
    number = idle = 0
    while found.done < ITEMS:
        took = time.perf_counter()
        item = await takes[number % len(takes)]()
        number += 1
        if item is None or isinstance(item, Wait):
            idle += 1
            if idle > 10 * len(takes):
                raise RuntimeError(f"Nothing is left for {stage}")
            continue
        idle = 0
        claimed = time.perf_counter()
        done = await _settle(stage, item)
        found.done += done
        found.claims.append(claimed - took)
        found.settles.append(time.perf_counter() - claimed)


async def _take(stage: Stage, process: UUID) -> Take:
    """What the stage's turns take their items with."""
    match stage:
        case "preparation":
            return partial(preparation.take, process)
        case "generation":
            return generation.Writing(process, await generation.providing(process)).take
        case _:
            return partial(posting.take, process, (await posting.logins_of(process))[0])


async def _settle(stage: Stage, item: Any) -> int:
    """As after a success, with what that writes."""
    match stage:
        case "preparation":
            page = {"article_title": item.title, "article_content": CONTENT, "article_raw_html": CONTENT}
            now = ["article_scraped_at"]
            return (await settle_done(stage, item.comments, status="prepared", **page, now=now)).done
        case "generation":
            return await _settle_generated(item)
        case _:
            posted = {"status": "posted", "mymoment_comment_id": f"new-{item.claim.id}", "is_hidden": item.hidden}
            return (await settle_done(stage, [item.claim], **posted, now=["posted_at"])).done


async def _settle_generated(item: CommentToGenerate) -> int:
    """The writing after an answer, without the answer."""
    provider = await runtime().providers.provider(item.provider_id)
    asked = Prompt("Be kind.", CONTENT, template="About it", boundary="word")
    answer = Completion(CONTENT, "model", input_tokens=100, output_tokens=100, finish_reason="stop", milliseconds=1000)
    call = Call(provider, asked, answer, Verdict(CONTENT, ()), error=None, milliseconds=1000)
    return (await generation._write(item, call)).done  # noqa: SLF001 - the answer's own part of `generate`
