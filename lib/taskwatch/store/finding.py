"""Which records match: their keys, newest first, from indexes alone, however rare or frequent they are.

Nothing here is left to a guess of the planner. Task, status, process and owner: each index that begins with what is
given goes on with the task's name and the status, so each (task, status) has its newest records in order, and the
newest of those are the page. A text: words are kept by half hours (see `task_words`), so the search goes backwards
through the half hours of a day, and stops where it has enough.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BindParameter, DateTime, Text, Uuid, bindparam, text

from lib.database import Executor
from lib.taskwatch.models import TABLE
from lib.taskwatch.store.looking import A_DAY, HAS_WORDS, LATEST, ORDER, Cursor, Filter, Look, floor_of_day

# Looked at one by one before the index of words is.
TRIED = 200
# Of so many, it is not asked which are there.
MOST_DAYS = 10
# How many days a text is looked for in at once: mostly it is in the newest ones.
_AT_ONCE = (1, 1)


def time_of(id_: UUID) -> datetime:
    """When a UUIDv7 was made; some time in the first day of 1970 where it is none of these."""
    milliseconds = id_.int >> 80 if id_.version == 7 else 0  # noqa: PLR2004 - the version's own number
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=min(milliseconds, 2**47))


async def keys(
    executor: Executor,
    sees: UUID | None,
    filter_: Filter,
    limit: int,
    offset: int = 0,
    after: Cursor | None = None,
    statuses: Sequence[str] = (),
) -> list[Cursor]:
    """The keys of the records behind `after` that match, without the first `offset`, newest first.

    `statuses`: any of them, where the filter names none.
    """
    look = Look(sees, filter_, after, statuses)
    if look.words:
        return (await _with_words(executor, look, limit + offset))[offset:]
    statement = f"SELECT created_at, id FROM ({look.newest(limit + offset)}) f {ORDER} LIMIT :limit OFFSET :offset"
    given = look.given | {"limit": limit, "offset": offset, "most": limit + offset}
    return [Cursor(*row) for row in await executor.execute(_typed(statement, given), given)]


async def count(executor: Executor, sees: UUID | None, filter_: Filter, most: int) -> int:
    """How many match, or `most` where there are as many. One statement, with a text two or three."""
    look = Look(sees, filter_)
    inner = look.newest(most)
    if look.words:
        found, rest = await _tried(executor, look)
        days = await _days(executor, look) if rest else []
        if not days:  # these were all
            return min(len(found), most)
        inner = " UNION ALL ".join(f"({look.of_a_day(day)})" for day in days)
    given = look.given | {"most": most}
    statement = _typed(f"SELECT count(*) FROM (SELECT 1 FROM ({inner}) f LIMIT :most) c", given)
    return int((await executor.execute(statement, given)).scalar_one())


async def _with_words(executor: Executor, look: Look, most: int) -> list[Cursor]:
    """The newest `most` keys that have the words."""
    found, rest = await _tried(executor, look)
    if rest is None or len(found) >= most:
        return found[:most]
    look = look.behind(rest)
    for days in _chunks(await _days(executor, look)):
        given = look.given | {"most": most - len(found)}
        parts = " UNION ALL ".join(f"({look.of_a_day(day)})" for day in days)
        statement = _typed(f"SELECT created_at, id FROM ({parts}) f {ORDER} LIMIT :most", given)
        found += [Cursor(*row) for row in await executor.execute(statement, given)]
        if len(found) >= most:
            break
    return found


async def _tried(executor: Executor, look: Look) -> tuple[list[Cursor], Cursor | None]:
    """Of the newest records that are what is wanted but for the words, those that have them; and the last one tried.

    None for that when it was all of them. Where nearly every record has the words, or few are what is wanted, this is
    the answer.
    """
    statement = (
        f"WITH newest AS MATERIALIZED (SELECT created_at, id FROM ({look.newest(TRIED)}) f {ORDER} LIMIT :most)"
        " SELECT w.* FROM newest n, LATERAL ("
        f"SELECT created_at, id, {HAS_WORDS.format(at='created_at')} FROM {TABLE}"
        " WHERE created_at = n.created_at AND id = n.id) w ORDER BY created_at DESC, id DESC"
    )
    given = look.given | {"most": TRIED}
    rows = (await executor.execute(_typed(statement, given), given)).all()
    found = [Cursor(at, id_) for at, id_, has in rows if has]
    return found, Cursor(*rows[-1][:2]) if len(rows) == TRIED else None


def _chunks(days: Sequence[datetime]) -> Iterator[Sequence[datetime]]:
    begun = 0
    for number in _AT_ONCE:
        if days[begun : begun + number]:
            yield days[begun : begun + number]
        begun += number
    if days[begun:]:
        yield days[begun:]


async def _days(executor: Executor, look: Look) -> list[datetime]:
    """The UTC days that are looked at, newest first."""
    newest = floor_of_day(min(look.end or LATEST, datetime.now(UTC) + A_DAY))
    if look.start is not None and newest - look.start < MOST_DAYS * A_DAY:
        first = floor_of_day(look.start)
        return [newest - number * A_DAY for number in range((newest - first).days + 1)]
    rows = await executor.execute(_PARTITIONS)
    days = [datetime.strptime(name[-8:], "%Y%m%d").replace(tzinfo=UTC) for (name,) in rows]
    return [day for day in days if day <= newest and (look.start is None or day + A_DAY > look.start)]


# Days to come are there too, and have nothing yet.
_PARTITIONS = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    f" WHERE i.inhparent = CAST('{TABLE}' AS regclass) AND c.relname <= '{TABLE}_' ||"
    " to_char((now() + interval '1 day') AT TIME ZONE 'UTC', 'YYYYMMDD') ORDER BY c.relname DESC"
)

_TYPES: dict[str, Any] = {
    **dict.fromkeys(("owner_id", "process_id", "item_id", "after_id"), Uuid()),
    **dict.fromkeys(("start", "end", "after_at"), DateTime(timezone=True)),
    **dict.fromkeys(("task_name", "status", "fingerprint", "query"), Text()),
    "statuses": ARRAY(Text()),
}


def _typed(statement: str, given: dict[str, Any]) -> Any:
    named = [name for name in given if name in _TYPES and re.search(rf":{name}\b", statement)]
    bound: list[BindParameter[Any]] = [bindparam(name, type_=_TYPES[name]) for name in named]
    return text(statement).bindparams(*bound)
