"""What one comment costs each contender: CPU by component, database round trips, WAL, log-ins, pages, empty looks.

The same work for all, counted from the moment it is there until it is done; looks for nothing also for a while after.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
from sqlalchemy import text

from benchmarks import pgbound
from benchmarks.contenders import BEAT_SECONDS, Contender, Load, Polling, Polls, Running
from benchmarks.cpu import own
from benchmarks.goals import Goal
from benchmarks.ground import EVERYBODY, Outside, outside
from benchmarks.peers import CONTENDERS, WITH, WITHOUT
from benchmarks.peers.pressroom import BEATS
from benchmarks.peers.programs import family_of
from benchmarks.pgbound import Bound
from benchmarks.work import make_world
from lib.database import Database

LOAD = Load(10, 30)
IDLE_SECONDS = 30.0
PATIENCE = 420.0
ITEM_STAGES = 3  # preparation, generation, posting; discovery takes a whole index at once
ROUND_TRIPS_A_STAGE, ORIGINAL = 3.0, Polls(153, 150)
SETTINGS = EVERYBODY | {name: str(BEAT_SECONDS) for name in BEATS}
OURS = "pressroom"
COUNTS = text(
    "SELECT sum(calls) FILTER (WHERE datname = :name AND query !~* :records),"
    " sum(calls) FILTER (WHERE datname = :name AND query ~* :records), sum(calls),"
    " sum(wal_bytes) FILTER (WHERE datname = :name)"
    " FROM pg_stat_statements(true) JOIN pg_database ON pg_database.oid = dbid WHERE toplevel"
)
RECORDS = "task_execution_logs|task_names|task_writers|task_logs"
SITE_AND_MODEL = "site and model"


@dataclass(frozen=True)
class CostFigure:
    """Per comment. `cpu` in ms by component; `wal` in bytes, of our database's statements and of the whole cluster.

    `trips` without those of task records, which are `records`; `trips_all` with those of Prefect's server, too.
    """

    contender: str
    posted: int
    cpu: Mapping[str, float]
    trips: float
    records: float
    trips_all: float
    wal: float
    wal_all: float
    log_ins: int
    indexes: float
    articles: float
    polls: Polls | None


def run() -> tuple[list[CostFigure], list[Bound]]:
    return [measured(contender) for contender in CONTENDERS], pgbound.measured()


def measured(contender: Contender) -> CostFigure:
    with (
        outside(LOAD.llm_seconds, LOAD.page_seconds, LOAD.at_once, preload="pg_stat_statements") as there,
        contender.running(there) as running,
    ):
        asyncio.run(_watch_statements(there))
        job = make_world(there, LOAD)
        began = asyncio.run(_begin(there))
        used = _cpu(there, running)
        asyncio.run(job.until_posted(LOAD.total, PATIENCE))
        spent = {what: seconds - used.get(what, 0.0) for what, seconds in _cpu(there, running).items()}
        counted = asyncio.run(_counted(there, began))
        asked = httpx.get(f"{there.site}/control/requests").json()
        posted = job.posted()
        time.sleep(IDLE_SECONDS)
        polls = running.polls() if isinstance(running, Polling) else None
    print(f"{contender.name}: {posted} of {LOAD.total}", flush=True)
    return _figure(contender.name, posted, spent, counted, asked, polls)


def _figure(
    name: str, posted: int, cpu: Mapping[str, float], counted: Sequence[float], asked: Any, polls: Polls | None
) -> CostFigure:
    each = max(posted, 1)
    trips, records, trips_all, wal, wal_all = (value / each for value in counted)
    return CostFigure(
        name,
        posted,
        {what: seconds / each * 1000 for what, seconds in cpu.items()},
        trips,
        records,
        trips_all,
        wal,
        wal_all,
        asked["log_ins"],
        asked["index_fetches"] / each,
        asked["article_fetches"] / each,
        polls,
    )


async def _watch_statements(there: Outside) -> None:
    async with Database(there.cluster.url("postgres"), pool_size=1) as database, database.alone() as connection:
        await connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_stat_statements"))


async def _begin(there: Outside) -> str:
    """Forget what was counted; the place in the log."""
    async with Database(there.cluster.url("postgres"), pool_size=1) as database, database.alone() as connection:
        await connection.execute(text("SELECT pg_stat_statements_reset()"))
        return str(await connection.scalar(text("SELECT pg_current_wal_lsn()::text")))


async def _counted(there: Outside, began: str) -> tuple[float, float, float, float, float]:
    async with Database(there.cluster.url("postgres"), pool_size=1) as database, database.alone() as connection:
        row = (await connection.execute(COUNTS, {"name": OURS, "records": RECORDS})).one()
        log = text("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), CAST(CAST(:began AS text) AS pg_lsn))")
        written = await connection.scalar(log, {"began": began})
    trips, records, trips_all, wal = (float(value or 0) for value in row)
    return trips, records, trips_all, wal, float(written or 0)


def _cpu(there: Outside, running: Running) -> dict[str, float]:
    """Seconds so far by component. A process's ended children count as its own."""
    found = {what: sum(map(own, _processes(ids))) for what, ids in running.components().items()}
    found["PostgreSQL"] = sum(map(own, family_of(there.cluster.process.pid)))
    site = [each for each in psutil.Process().children() if "playground" in " ".join(each.cmdline())]
    return found | {SITE_AND_MODEL: sum(map(own, site))}


def _processes(ids: Iterable[int]) -> list[psutil.Process]:
    found = []
    for id_ in ids:
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(id_))
    return found


def report(figures: tuple[Sequence[CostFigure], Sequence[Bound]]) -> str:
    costs, bounds = figures
    lines = [
        "## Cost of a comment",
        "",
        f"{LOAD.processes} processes × {LOAD.articles} articles, model 1 s. One round each.",
        "",
    ]
    lines += [*_cpu_table(costs), "", *_database_table(costs), "", *_site_table(costs), "", *pgbound.lines(bounds)]
    return "\n".join(lines) + "\n"


def _cpu_table(costs: Sequence[CostFigure]) -> list[str]:
    names = [*dict.fromkeys(what for each in costs for what in each.cpu if what != SITE_AND_MODEL), SITE_AND_MODEL]
    rows = [[f"{each.cpu[what]:.0f}" if what in each.cpu else "" for what in names] for each in costs]
    return [
        "CPU, ms:",
        "",
        f"| | posted | {' | '.join(names)} |",
        "|---" * (len(names) + 2) + "|",
        *(f"| {each.contender} | {each.posted} | {' | '.join(row)} |" for each, row in zip(costs, rows, strict=True)),
    ]


def _database_table(costs: Sequence[CostFigure]) -> list[str]:
    about = (
        "Round trips to the database as PostgreSQL counts executed statements, BEGIN and COMMIT among them, divided by"
        f" the {ITEM_STAGES} stages that take items; those that write task records beside, and of all, Prefect's server"
        " included. WAL in bytes: of the contender's statements, and of the whole cluster."
        f" All look for work every {BEAT_SECONDS} s instead of every 180, so what a look costs weighs more here: most"
        " with the Celery design, which spawns every stage of every process."
    )
    return [
        about,
        "",
        "| | round trips a stage | of task records | of all | WAL | WAL of all |",
        "|---|---|---|---|---|---|",
        *(
            f"| {each.contender} | {each.trips / ITEM_STAGES:.1f} | {each.records / ITEM_STAGES:.2f}"
            f" | {each.trips_all / ITEM_STAGES:.1f} | {each.wal:,.0f} | {each.wal_all:,.0f} |"
            for each in costs
        ),
    ]


def _site_table(costs: Sequence[CostFigure]) -> list[str]:
    about = (
        f"On the site, with {LOAD.processes} logins; and how often a stage of a process was run and found nothing,"
        f" until all was posted and {IDLE_SECONDS:.0f} s more (the original: {ORIGINAL.empty} of {ORIGINAL.all}). A"
        " tick of Pressroom that finds no process with work runs no stage of any, and taskiq looks for articles alone,"
        " since its later stages are jobs:"
    )
    return [
        about,
        "",
        "| | log-ins | index pages a comment | article pages a comment | empty looks |",
        "|---|---|---|---|---|",
        *(
            f"| {each.contender} | {each.log_ins} | {each.indexes:.2f} | {each.articles:.2f}"
            f" | {f'{each.polls.empty} of {each.polls.all}' if each.polls else '–'} |"
            for each in costs
        ),
    ]


def goals(figures: tuple[Sequence[CostFigure], Sequence[Bound]]) -> list[Goal]:
    found = []
    for each in (each for each in figures[0] if each.contender in (WITH.name, WITHOUT.name)):
        whose = f"{each.contender}: "
        trips, records = each.trips / ITEM_STAGES, each.records / ITEM_STAGES
        found.append(
            Goal(
                f"{whose}database round trips an item and stage",
                "≤ 3",
                f"{trips:.1f}, and {records:.1f} of task records",
                trips + records <= ROUND_TRIPS_A_STAGE,
            )
        )
        once = each.log_ins == LOAD.processes
        found.append(Goal(f"{whose}log-ins", f"one a login: {LOAD.processes}", f"{each.log_ins}", once))
        found.append(Goal(f"{whose}article pages a comment", "1", f"{each.articles:.2f}", each.articles <= 1))
        if each.polls is not None:
            better = each.polls.empty * ORIGINAL.all < ORIGINAL.empty * each.polls.all
            seen = f"{each.polls.empty} of {each.polls.all}"
            found.append(Goal(f"{whose}empty looks", f"fewer than {ORIGINAL.empty} of {ORIGINAL.all}", seen, better))
    return found


if __name__ == "__main__":
    print(report(run()))
