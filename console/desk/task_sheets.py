"""What the pages of the tasks show, in as few queries as that takes."""

from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import tasks
from console.desk.visit import Visit
from console.record import Record
from lib.errors import NotFound
from lib.monitoring.store import again, processes
from lib.taskwatch.store import failures, family, history
from lib.taskwatch.store import metrics as figures
from lib.taskwatch.store.history import Cursor, Filter

PAGE = 50
GROUPS = 50
OTHERS = 5


@dataclass(frozen=True)
class Part:
    """A page of the history: of records from behind `after` on, or of failures by kind."""

    filter: Filter
    by_kind: bool = False
    after: Cursor | None = None


async def dashboard(visit: Visit, hours: int, part: Part | None) -> Record:
    """How each task did in the last hours, and a part of the history, which None leaves out."""
    found = await tasks.metrics(visit, hours)
    async with visit.database.session() as session:
        found["sparklines"] = await figures.sparklines(session, visit.sees, hours)
        found["processes"] = {row.id: row.name for row in await processes.listed(session, visit.sees)}
        return found | (await _history(session, visit, part) if part is not None else {})


async def _history(session: AsyncSession, visit: Visit, part: Part) -> Record:
    if part.by_kind:
        groups = await failures.groups(session, visit.sees, part.filter, GROUPS)
        return {"groups": [asdict(group) for group in groups]}
    page = await history.page(session, visit.sees, part.filter, PAGE, after=part.after)
    is_all = page.next is None and part.after is None
    return {"records": page.items, "older": page.next, "total": len(page.items) if is_all else None}


async def total(visit: Visit, wanted: Filter) -> tuple[int, bool]:
    """How many records match, and whether there are more than that."""
    async with visit.database.session() as session:
        return await history.count(session, visit.sees, wanted, tasks.MOST_COUNTED)


async def one(visit: Visit, record_id: UUID) -> Record:
    """A record with its family, the name of its process, its comment if that is there, and others that failed alike.

    Raise NotFound.
    """
    async with visit.database.session() as session:
        found = await history.record(session, visit.sees, record_id)
        if found is None:
            raise NotFound("There is no such record; it may be too old to be kept")
        parent = None if found.parent_id is None else await family.one(session, visit.sees, found.parent_id)
        names = {row.id: row.name for row in await processes.listed(session, visit.sees)}
        comments = await again.known(session, visit.sees, [found.item_id] if found.item_id else [])
        others = await _alike(session, visit, found)
    return {
        "record": found,
        "parent": parent,
        "process": names.get(found.process_id) if found.process_id else None,
        "comment_id": found.item_id if found.item_id in comments else None,
        "others": others,
    }


async def _alike(session: AsyncSession, visit: Visit, record: history.TaskRecord) -> list[history.TaskItem]:
    """The newest of its kind without itself; one more than are shown, where there are more."""
    if record.fingerprint is None:
        return []
    page = await history.page(session, visit.sees, Filter(fingerprint=record.fingerprint), OTHERS + 2)
    return [each for each in page.items if each.id != record.id][: OTHERS + 1]
