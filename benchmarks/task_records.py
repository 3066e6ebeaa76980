"""Made-up task records of eight days, written with COPY day by day, and counted by one statement a table."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from lib.database import Database
from lib.taskwatch.models import EVERYBODY, TABLE
from lib.taskwatch.store import retention

DAYS = 8
PROCESSES = 100
OWNERS = 5
FINGERPRINTS = 40
FAILED = 0.03
AT_ONCE = 2  # days
_DAY = 86_400
_CHUNK = 20_000
# name, kind, how often, milliseconds in the middle
TASKS = (
    ("prepare_article", "item", 20, 450),
    ("generate_comment", "item", 16, 4200),
    ("call_model", "step", 16, 3900),
    ("post_comment", "item", 8, 800),
    ("read_back", "step", 8, 300),
    ("fetch_index", "item", 10, 260),
    ("log_in", "step", 3, 700),
    ("discover_articles", "stage", 5, 600),
    ("prepare_content", "stage", 5, 2500),
    ("generate_comments", "stage", 5, 9000),
    ("post_comments", "stage", 3, 5000),
    ("upload_archive", "item", 1, 60_000),
)
NEVER_FAILS = "upload_archive"
OF_TWO_OWNERS = "log_in"
COLUMNS = [
    "created_at",
    "id",
    "task_name",
    "run_name",
    "kind",
    "status",
    "task_id",
    "parameters",
    "started_at",
    "completed_at",
    "duration_ms",
    "error_type",
    "error_message",
    "error_traceback",
    "place",
    "cause",
    "fingerprint",
    "attempt",
    "process_id",
    "owner_id",
    "flow_run_id",
    "item_id",
    "parent_id",
    "recorder_id",
]
_CLOCK = [f"{s // 3600:02}:{s // 60 % 60:02}:{s % 60:02}" for s in range(_DAY)]
_WORDS = [
    "Der",
    "rote",
    "Panda",
    "schläft",
    "am",
    "Fluss",
    "und",
    "die",
    "Kinder",
    "schreiben",
    "von",
    "Wolken",
    "Bergen",
    "Zügen",
    "Katzen",
    "im",
    "Winter",
]
_ERRORS = ("SiteTimeout", "ConnectionLost", "RefusedByModel", "BrokenPage", "RateLimited")


def process_id(number: int) -> UUID:
    return UUID(int=(0x0198 << 112) | (7 << 76) | (2 << 62) | number)


def owner_id(number: int) -> UUID:
    return process_id(1_000_000 + number)


def day(number: int) -> date:
    """The UTC day so many days ago."""
    return (datetime.now(UTC) - timedelta(days=number)).date()


@dataclass(frozen=True)
class _Failure:
    kind: str
    message: str
    trace: str
    place: str
    cause: str
    fingerprint: str


def _failures() -> dict[str, list[_Failure]]:
    """By task: those of the fingerprints that are its own."""
    names = [name for name, *_ in TASKS if name != NEVER_FAILS]
    found: dict[str, list[_Failure]] = {name: [] for name in names}
    for number in range(FINGERPRINTS):
        kind, word = _ERRORS[number % len(_ERRORS)], _WORDS[number % len(_WORDS)].lower()
        place = f"lib/monitoring/part{number}.py:_do{number}"
        frames = "".join(f'  File "{place}", line {line}, in _do{number}\\n    {word}()\\n' for line in range(20))
        cause = f"{kind}: the {word} did not answer number <n>"
        trace = f"Traceback (most recent call last):\\n{frames}{cause}"
        failure = _Failure(kind, cause.replace("<n>", str(number)), trace, place, cause, f"{number:016x}")
        found[names[number % len(names)]].append(failure)
    return found


def _lines(on: date, count: int, until: float) -> Iterator[str]:
    """One line a record, oldest first. `until`: seconds of the day that are over."""
    pick = random.Random(on.toordinal())
    failures = _failures()
    names = pick.choices(TASKS, [often for _, _, often, _ in TASKS], k=4096)
    midnight = int(datetime(on.year, on.month, on.day, tzinfo=UTC).timestamp() * 1000)
    step = until / count
    for number in range(count):
        name, kind, _, middle = names[(number * 2654435761 >> 7) & 4095]
        process = pick.randrange(PROCESSES)
        if name == OF_TWO_OWNERS:
            process -= process % OWNERS - process % 2
        owner = process % OWNERS
        second = (number + pick.random()) * step
        milliseconds = round(middle * pick.lognormvariate(0, 0.5), 3)
        over = min(second + milliseconds / 1000, _DAY - 0.001)
        failed = name != NEVER_FAILS and pick.random() < FAILED
        wrong = pick.choice(failures[name]) if failed else None
        error = (
            f"{wrong.kind}\t{wrong.message}\t{wrong.trace}\t{wrong.place}\t{wrong.cause}\t{wrong.fingerprint}"
            if wrong
            else "\\N\t\\N\t\\N\t\\N\t\\N\t\\N"
        )
        began, ended = _at(on, second), _at(on, over)
        low = f"8{number:015x}"
        own = f"{midnight + int(second * 1000):012x}7{number & 0xFFF:03x}{low}"
        item = f"{midnight:012x}70008{number // 4:015x}"
        word = _WORDS[number % len(_WORDS)]
        given = (
            f'{{"url": "https://site.example/articles/{number % 50000}/", "title": "{word} {number}", "tab": "home"}}'
        )
        yield (
            f"{began}\t{own}\t{name}\t{name} “{word} {number}”\t{kind}\t{'failed' if failed else 'success'}\t{own}\t"
            f"{given}\t{began}\t{ended}\t{milliseconds}\t{error}\t1\t{_PROCESS[process]}\t{_OWNER[owner]}\t{item}\t{item}\t"
            f"{item}\t\\N\n"
        )


_PROCESS = [str(process_id(number)) for number in range(PROCESSES)]
_OWNER = [str(owner_id(number)) for number in range(OWNERS)]


def _at(on: date, second: float) -> str:
    whole = int(second)
    return f"{on} {_CLOCK[whole]}.{int((second - whole) * 1e6):06}+00"


async def load(database: Database, records: int) -> None:
    """Put so many records into an empty table, as if they had come in over the last eight days."""
    gate = asyncio.Semaphore(AT_ONCE)
    today = (datetime.now(UTC) - datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds()
    # Seven whole days, and of the oldest and newest one together a whole one.
    share = records / (DAYS - 1 + today / _DAY)

    async def one(number: int) -> None:
        async with gate:
            whole = number > 0
            await _load_day(
                database, day(number), int(share * (1 if whole else today / _DAY)), _DAY if whole else today
            )

    await asyncio.gather(*(one(number) for number in range(DAYS)))
    async with database.alone() as connection:
        for statement in (*COUNTED, "ANALYZE"):
            await connection.execute(text(statement))


async def _load_day(database: Database, on: date, count: int, until: float) -> None:
    """COPY into a table of its own, and attach it, which builds its indexes."""
    name = retention.partition_of(on)
    async with database.alone() as connection:
        await connection.execute(text("SET maintenance_work_mem = '512MB'"))
        await connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
        await connection.execute(text(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
        raw: Any = (await connection.get_raw_connection()).driver_connection
        await raw.copy_to_table(name, source=_chunks(on, count, until), columns=COLUMNS, format="text")
        following = on + timedelta(days=1)
        bounds = f"FROM ('{on} 00:00:00+00') TO ('{following} 00:00:00+00')"
        await connection.execute(text(f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES {bounds}"))
        await connection.execute(text(f"VACUUM (ANALYZE) {name}"))


async def _chunks(on: date, count: int, until: float) -> AsyncIterator[bytes]:
    chunk: list[str] = []
    for line in _lines(on, count, until):
        chunk.append(line)
        if len(chunk) == _CHUNK:
            yield "".join(chunk).encode()
            chunk.clear()
    yield "".join(chunk).encode()


_ENDED = f"FROM {TABLE} WHERE status IN ('success', 'failed', 'abandoned')"
_LATELY = "completed_at >= date_trunc('minute', now()) - interval '65 minutes'"
_SUCCEEDED = f"FROM {TABLE} WHERE status = 'success'"


def _counts(unit: str) -> str:
    return (
        f"INSERT INTO task_{unit}s SELECT date_trunc('{unit}', completed_at, 'UTC'), task_name, owner_id,"
        " count(*) FILTER (WHERE status = 'success'), count(*) FILTER (WHERE status = 'failed'), 0,"
        f" coalesce(sum(duration_ms) FILTER (WHERE status = 'success'), 0) {_ENDED} GROUP BY 1, 2, 3"
    )


COUNTED = (
    "INSERT INTO task_names SELECT DISTINCT task_name FROM " + TABLE + " ON CONFLICT DO NOTHING",
    _counts("minute"),
    (
        "INSERT INTO task_hours SELECT date_trunc('hour', at, 'UTC'), task_name, owner_id, sum(success), sum(failed),"
        " sum(abandoned), sum(duration_ms) FROM task_minutes GROUP BY 1, 2, 3"
    ),
    (
        "INSERT INTO task_minute_bins SELECT date_trunc('minute', completed_at, 'UTC'), task_name, owner_id,"
        f" task_bin(duration_ms), count(*) {_SUCCEEDED} AND {_LATELY} GROUP BY 1, 2, 3, 4"
    ),
    (
        "INSERT INTO task_hour_bins SELECT date_trunc('hour', completed_at, 'UTC'), task_name, owner_id,"
        f" task_bin(duration_ms), count(*) {_SUCCEEDED} AND NOT ({_LATELY}) GROUP BY 1, 2, 3, 4"
    ),
    (
        f"INSERT INTO task_hour_bins SELECT at, task_name, CAST('{EVERYBODY}' AS uuid), bin, sum(count)"
        " FROM task_hour_bins GROUP BY 1, 2, 3, 4"
    ),
    (
        "INSERT INTO task_day_bins SELECT date_trunc('day', at, 'UTC'), task_name, owner_id, bin, sum(count)"
        " FROM task_hour_bins GROUP BY 1, 2, 3, 4"
    ),
    (
        "INSERT INTO task_failures SELECT DISTINCT ON (fingerprint, task_name, owner_id) fingerprint, task_name,"
        " owner_id, error_type, place, cause, min(created_at) OVER same, max(created_at) OVER same,"
        " count(*) OVER same, id, created_at"
        f" FROM {TABLE} WHERE status = 'failed' WINDOW same AS (PARTITION BY fingerprint, task_name, owner_id)"
        " ORDER BY fingerprint, task_name, owner_id, created_at DESC"
    ),
)
