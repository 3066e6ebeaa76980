"""Which records match: newest first, found by indexes alone, however rare or frequent they are.

Nothing here is left to a guess of the planner. Task, status, process and owner: each index that begins with what is
given goes on with the task's name and the status, so each (task, status) has its newest records in order, and the
newest of those are the page. A text: words are kept by half hours (see `task_words`), so the search goes backwards
through the half hours of a day, and stops where it has enough.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ARRAY, BigInteger, BindParameter, DateTime, Double, Text, Uuid, bindparam, column, text
from sqlalchemy.sql.elements import KeyedColumnElement

from lib.database import Executor
from lib.taskwatch.models import TABLE
from lib.taskwatch.store.looking import A_DAY, LATEST, ORDER, Cursor, Look, floor_of_day

# Of so many, it is not asked which are there.
MOST_DAYS = 10


def time_of(id_: UUID) -> datetime:
    """When a UUIDv7 was made; some time in the first day of 1970 where it is none of these."""
    milliseconds = id_.int >> 80 if id_.version == 7 else 0  # noqa: PLR2004 - the version's own number
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=min(milliseconds, 2**47))


@dataclass(frozen=True)
class Cut:
    """What is shown of what matches, newest first: behind `after`, without the first `offset`, at most `limit`."""

    limit: int
    offset: int = 0
    after: Cursor | None = None


async def count(executor: Executor, look: Look, most: int, patience: float | None = None) -> tuple[int, bool]:
    """How many match, or `most` where there are as many; and whether that is all, or so many seconds were over before.

    Only words are ever looked for in vain for long.
    """
    hurries = bool(look.words) and patience is not None
    matching = await _matching(executor, look, most, patiently=not hurries)
    over = "clock_timestamp() - statement_timestamp() >= make_interval(secs => :patience)" if hurries else "false"
    given: dict[str, Any] = {"most": most} | ({"patience": patience} if hurries else {})
    ((found, is_cut),) = await _ask(executor, look, f"SELECT count(*), {over} FROM ({matching}) f", given)
    return int(found), not is_cut


async def grouped(executor: Executor, look: Look, query: str, most: int, **given: Any) -> Sequence[Sequence[Any]]:
    """What a query makes of the newest `most` records, which are its `l`."""
    whole = f"SELECT * FROM {TABLE} WHERE created_at = m.created_at AND id = m.id OFFSET 0"
    records = f"({await _matching(executor, look, most)}) m, LATERAL ({whole}) l"
    return await _ask(executor, look, query.format(records=records), given | {"most": most})


async def rows(
    executor: Executor, look: Look, columns: Sequence[KeyedColumnElement[Any]], cut: Cut, most: int
) -> tuple[list[Sequence[Any]], int]:
    """These columns of a cut from the newest `most`, and how many of those there are: in one walk."""
    matching = await _matching(executor, look, most)
    given: dict[str, Any] = {"limit": cut.limit, "offset": cut.offset, "most": most}
    behind = ""
    if cut.after is not None:
        behind = "WHERE (created_at, id) < (:after_at, :after_id)"
        given |= {"after_at": cut.after.created_at, "after_id": cut.after.id}
    statement = (
        f"WITH matching AS MATERIALIZED (SELECT created_at, id FROM ({matching}) f),"
        f" cut AS MATERIALIZED (SELECT created_at, id FROM matching {behind} {ORDER} LIMIT :limit OFFSET :offset)"
        " SELECT t.total, l.* FROM (SELECT count(*) AS total FROM matching) t LEFT JOIN (cut c CROSS JOIN LATERAL ("
        f"SELECT {', '.join(each.key for each in columns)} FROM {TABLE}"
        " WHERE created_at = c.created_at AND id = c.id OFFSET 0) l) ON true ORDER BY l.created_at DESC, l.id DESC"
    )
    found = await _ask(executor, look, statement, given, [column("total", BigInteger), *columns])
    return [row[1:] for row in found if row[1] is not None], found[0][0]


async def _matching(executor: Executor, look: Look, most: int, *, patiently: bool = True) -> str:
    """The newest `:most` keys, in any order."""
    if look.words:
        return look.with_words(await _days(executor, look), patiently=patiently)
    return look.newest(most)


async def _days(executor: Executor, look: Look) -> list[datetime]:
    """The UTC days that are looked at, newest first. Asked for where there may be many."""
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
    "patience": Double(),
    **dict.fromkeys(("task_name", "status", "fingerprint", "query"), Text()),
    "statuses": ARRAY(Text()),
}


async def _ask(
    executor: Executor, look: Look, statement: str, more: dict[str, Any], columns: Sequence[Any] | None = None
) -> Sequence[Sequence[Any]]:
    given = look.given | more
    named = [name for name in given if name in _TYPES and re.search(rf":{name}\b", statement)]
    bound: list[BindParameter[Any]] = [bindparam(name, type_=_TYPES[name]) for name in named]
    query = text(statement).bindparams(*bound)
    found = await executor.execute(query if columns is None else query.columns(*columns), given)
    return found.all()
