"""Comparisons: two templates over the same past articles. Nothing of it is ever posted."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import given, runs, trail
from console.desk.visit import Visit
from console.record import Record
from lib.errors import Conflict, Invalid, PressroomError
from lib.monitoring import comparison, fields
from lib.monitoring.comparison import MOST_ARTICLES, Compared, Wanted
from lib.monitoring.records import Comparison
from lib.monitoring.store import comparisons as store
from lib.monitoring.store import processes
from lib.monitoring.store.scope import as_id

DEPLOYMENT = "compare_templates"
MOST_TO_PICK = 50


@dataclass(frozen=True)
class NewComparison:
    """What a person wants compared. Templates, provider and process by name or id; `comments`: whose articles.

    Without comments it is the newest `articles` of the process, or of every process.
    """

    template_a: str
    template_b: str
    provider: str
    process: str | None = None
    comments: Sequence[str] = ()
    articles: int = MOST_ARTICLES
    name: str | None = None


async def create(visit: Visit, wanted: NewComparison) -> UUID:
    """It is there, and nothing runs yet. Raise Invalid or NotFound that names what cannot be compared."""
    with given.field("name"):
        name = fields.word(wanted.name, "The name", fields.NAME_CHARS)
    asked = Wanted(
        wanted.template_a,
        wanted.template_b,
        wanted.provider,
        [_id(text) for text in wanted.comments],
        await _process_id(visit, wanted.process),
        wanted.articles,
        name,
    )

    async def note(session: AsyncSession, row: Comparison) -> None:
        details = {
            "name": name,
            "template_a": row.template_a,
            "template_b": row.template_b,
            "provider": row.provider_id,
        }
        await trail.note(session, visit, "comparison.add", row.id, details)

    return await comparison.create(visit.database, visit.user_id, visit.sees, asked, also=note)


def _id(text: str) -> UUID:
    id_ = as_id(text)
    if id_ is None:
        raise Invalid(f"“{text[:40]}” is no comment id", "comments")
    return id_


async def _process_id(visit: Visit, process: str | None) -> UUID | None:
    if process is None:
        return None
    with given.field("process"):
        async with visit.database.session() as session:
            return (await processes.by_name(session, visit.sees, process)).id


async def start(visit: Visit, comparison_id: UUID) -> str:
    """Ask Prefect to get the answers that wait; return the id of the flow run. A second run shares the work.

    Raise Conflict when nothing waits, and what `runs.start_deployment` raises; the comparison stays as it was.
    """
    async with visit.database.session() as session:
        row = await store.by_id(session, visit.sees, comparison_id)
    if row.status == "done":
        raise Conflict("The comparison is done; make another one")
    flow_run_id = await runs.start_deployment(DEPLOYMENT, {"comparison_id": str(comparison_id)})
    async with visit.database.session() as session:
        details = {"name": row.name, "flow_run_id": flow_run_id}
        await trail.note(session, visit, "comparison.start", row.id, details)
    return flow_run_id


async def begin(visit: Visit, wanted: NewComparison) -> UUID:
    """Make it and start it; when it cannot be started, none is made."""
    made = await create(visit, wanted)
    try:
        await start(visit, made)
    except PressroomError:
        # A run that was begun all the same finds nothing to do.
        await remove(visit, made)
        raise
    return made


async def listed(visit: Visit) -> list[Record]:
    """The newest first."""
    async with visit.database.session() as session:
        return [asdict(line) for line in await store.listed(session, visit.sees)]


async def show(visit: Visit, comparison_id: UUID) -> Record:
    """A comparison with every answer so far, and each side's sums. Raise NotFound."""
    found = await comparison.read(visit.database, visit.sees, comparison_id)
    return asdict(found.line) | {"pairs": [asdict(pair) for pair in found.pairs], "sums": _sums(found)}


def _sums(found: Compared) -> Record:
    return {"a": asdict(found.a), "b": asdict(found.b)}


async def remove(visit: Visit, comparison_id: UUID) -> Record:
    """Also one that runs: an answer that is under way is thrown away. Raise NotFound."""
    async with visit.database.session() as session:
        row = await store.by_id(session, visit.sees, comparison_id)
        await store.remove(session, row.id)
        await trail.note(session, visit, "comparison.remove", row.id, {"name": row.name})
    return {"removed": comparison_id}


async def past_articles(visit: Visit, process: str | None = None, limit: int = MOST_TO_PICK) -> list[Record]:
    """What can be compared on: the newest articles, of a process or of every process."""
    if not 1 <= limit <= MOST_TO_PICK:
        raise Invalid(f"The limit must be from 1 to {MOST_TO_PICK}", "limit")
    process_id = await _process_id(visit, process)
    async with visit.database.session() as session:
        found = await store.past_comments(session, visit.sees, process_id, limit)
    return [{"comment": id_, "title": title} for id_, title in found]
