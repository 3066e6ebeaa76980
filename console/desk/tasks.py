"""Tasks: how each kind of them does, what each one did, and what went wrong with them."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import ceil
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import task_retries
from console.desk.given import field
from console.desk.visit import Visit
from console.record import Record
from lib.errors import Conflict, Invalid, NotFound, Stale
from lib.monitoring.stages import Stage
from lib.monitoring.store import metrics as queues
from lib.monitoring.store import processes
from lib.monitoring.store.scope import as_id, moment_of, version_of
from lib.monitoring.store.standing import standing
from lib.taskwatch.models import TaskStatus
from lib.taskwatch.store import failures as failure_store
from lib.taskwatch.store import history as history_store
from lib.taskwatch.store import metrics as metrics_store
from lib.taskwatch.store import retrying
from lib.taskwatch.store.history import Cursor, Filter
from lib.taskwatch.store.metrics import TaskMetrics
from lib.taskwatch.store.recorders import recorders
from lib.taskwatch.store.tracebacks import tracebacks_of

MOST_HOURS = 168
LEAST_ON_A_PAGE, MOST_ON_A_PAGE = 10, 100
MOST_COUNTED = 10_000
MOST_GROUPS = 200
_CURSOR = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{32})-([0-9a-f]{1,8})")
# Why a record cannot be tried again.
WHY = {
    "posted": "It was posted meanwhile",
    "in_work": "A worker has it now",
    "waits": "It waits for its turn already, or for what was sent to arrive",
    "gone": "What it worked on is not there any more, or is nothing that can be tried by itself",
    "no_item": "It worked on nothing that waits: its task runs again by itself, or its process does not run",
}
# Where the items of a task wait. The others have no queue.
QUEUES: dict[str, Stage] = {
    "prepare_article": "preparation",
    "generate_comment": "generation",
    "post_comment": "posting",
}


@dataclass(frozen=True)
class Asked:
    """Which records; None is any. `start` and `end`: made from then on, and before that. `process`: a name or id."""

    task_name: str | None = None
    status: TaskStatus | None = None
    start: datetime | None = None
    end: datetime | None = None
    process: str | None = None
    text: str | None = None
    fingerprint: str | None = None
    item_id: UUID | None = None


async def filter_of(session: AsyncSession, visit: Visit, asked: Asked) -> Filter:
    """Raise Invalid that names what is wrong. An id of a process that is gone is one: its records are still there."""
    if asked.start is not None and asked.end is not None and asked.end <= asked.start:
        raise Invalid("The end must be after the start", "end_date")
    process_id = None
    if asked.process is not None:
        with field("process"):
            process_id = as_id(asked.process) or (await processes.by_name(session, visit.sees, asked.process)).id
    return Filter(
        task_name=asked.task_name,
        status=asked.status,
        start=asked.start,
        end=asked.end,
        process_id=process_id,
        text=asked.text,
        fingerprint=asked.fingerprint,
        item_id=asked.item_id,
    )


async def metrics(visit: Visit, hours: int = 24) -> Record:
    """How each kind of task did in the last hours (1 to 168), and what waits for it now.

    Times in milliseconds, `oldest_waiting_seconds` in seconds; both figures of a queue are None where there is none.
    """
    if not 1 <= hours <= MOST_HOURS:
        raise Invalid(f"The time window must be from 1 to {MOST_HOURS} hours", "time_window")
    async with visit.database.session() as session:
        found = await metrics_store.metrics(session, visit.sees, hours)
        waiting = await queues.backlog(session, visit.sees)
        writers = await recorders(session, hours)
    figures = {each.task_name: asdict(each) for each in found}
    # What waits for a task that did not run at all is the worst news.
    for name, stage in QUEUES.items():
        if waiting[stage].number and name not in figures:
            figures[name] = asdict(TaskMetrics(name, 0, 0, 0, 0, 0, 0, None, None, None, None, None, None))
    return {
        "time_window_hours": hours,
        "generated_at": datetime.now(UTC),
        "metrics": [figures[name] | _queue(name, waiting) for name in sorted(figures)],
        "recorders": [asdict(each) for each in writers],
    }


def _queue(task_name: str, waiting: dict[Stage, queues.Backlog]) -> Record:
    stage = QUEUES.get(task_name)
    if stage is None:
        return {"queue_depth": None, "oldest_waiting_seconds": None}
    return {"queue_depth": waiting[stage].number, "oldest_waiting_seconds": waiting[stage].oldest}


async def sparklines(visit: Visit, hours: int = 24) -> dict[str, list[tuple[int, int]]]:
    """For each kind of task 24 points over the last hours: how many succeeded, and how many did not."""
    async with visit.database.session() as session:
        return await metrics_store.sparklines(session, visit.sees, hours)


async def history(
    visit: Visit,
    asked: Asked,
    *,
    page: int = 1,
    page_size: int = 50,
    cursor: str | None = None,
    tracebacks: bool = False,
) -> Record:
    """The newest first. Beyond 10,000 records there is no page to jump to, only the cursor of the one before."""
    if not LEAST_ON_A_PAGE <= page_size <= MOST_ON_A_PAGE:
        raise Invalid(f"The page size must be from {LEAST_ON_A_PAGE} to {MOST_ON_A_PAGE}", "page_size")
    after, page = _place(page, page_size, cursor)
    async with visit.database.session() as session:
        wanted = await filter_of(session, visit, asked)
        offset = 0 if after is not None else (page - 1) * page_size
        found, total, is_capped = await history_store.page_and_count(
            session, visit.sees, wanted, page_size, offset, after, MOST_COUNTED
        )
        traced = await tracebacks_of(session, found.items) if tracebacks else {}
    return {
        "items": [asdict(each) | {"error_traceback": traced.get(each.id)} for each in found.items],
        "page": page,
        "page_size": page_size,
        "total_count": total,
        "total_is_capped": is_capped,
        "total_text": f"{total:,}{'+' if is_capped else ''}",
        "total_pages": ceil(total / page_size),
        "next_cursor": None if found.next is None else _text_of(found.next, page + 1),
    }


def _place(page: int, page_size: int, cursor: str | None) -> tuple[Cursor | None, int]:
    """Behind what a page begins, and its number."""
    if cursor is not None:
        if page != 1:
            raise Invalid("Give a page or a cursor, not both", "page")
        return _cursor_of(cursor)
    if page < 1:
        raise Invalid("The first page is 1", "page")
    if page * page_size > MOST_COUNTED:
        raise Invalid(
            f"Pages go to {MOST_COUNTED:,} records, so to page {MOST_COUNTED // page_size:,} of {page_size}; "
            "read on with the cursor: `next_cursor` of the page before",
            "page",
        )
    return None, page


def _text_of(cursor: Cursor, page: int) -> str:
    """The last record's time and id, and the number of the page that it leads to."""
    return f"{version_of(cursor.created_at)}-{cursor.id.hex}-{page:x}"


def _cursor_of(text: str) -> tuple[Cursor, int]:
    found = _CURSOR.fullmatch(text)
    try:
        if found is not None:
            return Cursor(moment_of(found[1]), UUID(hex=found[2])), int(found[3], 16)
    except Invalid:
        pass  # a time that never was
    raise Invalid("This is no cursor; take `next_cursor` of a page", "cursor")


async def show(visit: Visit, record_id: UUID) -> Record:
    """One record with its traceback, and what was done within it as `children`. Raise NotFound."""
    async with visit.database.session() as session:
        found = await history_store.record(session, visit.sees, record_id)
    if found is None:
        raise NotFound(f"There is no record {record_id} of a task; it may be too old to be kept")
    return asdict(found)


async def failures(visit: Visit, asked: Asked, limit: int = 50) -> list[Record]:
    """What went wrong by fingerprint (type, place, message without what varies), the most recent first."""
    if not 1 <= limit <= MOST_GROUPS:
        raise Invalid(f"The limit must be from 1 to {MOST_GROUPS}", "limit")
    async with visit.database.session() as session:
        wanted = await filter_of(session, visit, asked)
        return [asdict(each) for each in await failure_store.groups(session, visit.sees, wanted, limit)]


async def retry(visit: Visit, which: Asked | Sequence[UUID], expected: int) -> Record:
    """Try again what these failed records worked on, or all that match. Nothing goes out by this alone.

    Comments go back to where they failed, at once; where one may have gone out, posting looks for it first
    (`read_back_first`). Stages are asked to run. Raise Conflict with the number when it is not the expected one.
    """
    wanted = await _wanted(visit, which)
    plan = await task_retries.plan(visit, wanted)
    if plan.capped:
        raise Invalid(f"More than {task_retries.MOST:,} failed records match; narrow it down", "filter")
    if plan.records != expected:
        raise Conflict(f"{plan.records:,} failed records match now, not {expected:,}; look again", "expected_count")
    left = await _left_alone(visit, wanted, plan)
    try:
        done = await task_retries.retry(visit, wanted, plan.mark)
    except Stale as error:
        raise Conflict(str(error)) from error
    return {
        "matched": plan.records,
        "retried": done.comments,
        "read_back_first": done.sent,
        "stages_run": done.runs,
        "stages_refused": list(done.refused),
        "left_alone": left,
    }


async def _wanted(visit: Visit, which: Asked | Sequence[UUID]) -> task_retries.Wanted:
    if not isinstance(which, Asked):
        return task_retries.Wanted(tuple(dict.fromkeys(which)), Filter())
    async with visit.database.session() as session:
        try:
            return task_retries.Wanted(None, await filter_of(session, visit, which))
        except Invalid as error:
            error.field = f"filter.{error.field}"
            raise


async def _left_alone(visit: Visit, wanted: task_retries.Wanted, plan: task_retries.Plan) -> list[Record]:
    """How many records cannot be tried again, by reason."""
    async with visit.database.session() as session:
        targets, _ = await retrying.targets(session, visit.sees, wanted.filter, wanted.ids)
        ids = {each.item_id for each in targets if each.item_id is not None} - plan.possible.all
        stands = await standing(session, visit.sees, ids)
    runs = {(run.stage, run.process_id) for run in plan.runs}
    counted: Counter[str] = Counter()
    for each in targets:
        if each.item_id in ids:
            counted[stands.get(each.item_id, "gone")] += each.records
        elif each.item_id is None and (task_retries.STAGE_OF.get(each.task_name), each.process_id) not in runs:
            counted["no_item"] += each.records
    return [{"reason": reason, "number": number, "why": WHY[reason]} for reason, number in sorted(counted.items())]
