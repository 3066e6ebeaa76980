"""What one page shows of a process, its form or a comment, in as few queries as that takes."""

from dataclasses import dataclass
from uuid import UUID

from console.desk import review as review_desk
from console.desk.process_records import comment_counts, stage_record, with_parts
from console.desk.processes import find_state
from console.desk.visit import Visit
from console.record import Record
from lib.monitoring.models import LLMProviderConfiguration, MonitoringProcess, MyMomentLogin, PromptTemplate
from lib.monitoring.stages import CommentStatus
from lib.monitoring.store import budgets, catalog, history, overview, processes, queue, review
from lib.monitoring.store.choosing import ApprovalFilter, Wanted
from lib.monitoring.store.overview import ProcessState

PAGE = 25


@dataclass(frozen=True)
class Asked:
    """Which comments a page lists, from behind `after` on."""

    process: UUID | None = None
    status: CommentStatus | None = None
    approval: ApprovalFilter | None = None
    after: UUID | None = None

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.process, self.status, self.approval)


@dataclass(frozen=True)
class Part:
    """What a process can be made of. `more`: a login's site, a provider's model."""

    id: UUID
    name: str
    more: str
    is_active: bool


async def process_sheet(visit: Visit, process_id: UUID, asked: Asked | None) -> Record:
    """Settings, what it lacks, stages, counts, budgets; its comments when some are asked for. Raise NotFound."""
    async with visit.database.session() as session:
        state = await find_state(session, visit, str(process_id))
        row = state.row
        found = with_parts(row, await processes.parts(session, row))
        counts = (await overview.counts(session, visit.sees, row.id)).get(row.id, overview.NOTHING)
        page = None
        if asked is not None:
            page = await review.listed(session, visit.sees, asked.wanted, PAGE, asked.after, short_ids=False)
        standings = []
        if _has_budget(state):
            mine = (row.id, row.llm_provider_id)
            every = await budgets.standings(session, visit.settings.budget_timezone, row.user_id)
            standings = [each for each in every if each.id in mine]
    return found | {
        "owner": state.owner,
        "owner_id": row.user_id,
        "fallback": state.fallback,
        "comments": comment_counts(counts) | {"approved": counts.approved, "rejected": counts.rejected},
        "total": counts.total,
        "posting_on": counts.posting_on,
        "posts_in_work": counts.held.get("generated", 0),
        "stages": [stage_record(stage, row, counts) for stage in state.stages],
        "posted_per_hour": list(counts.posted_per_hour),
        "budgets": standings,
        "page": page,
    }


def _has_budget(state: ProcessState) -> bool:
    each = (state.row, state.provider) if state.provider else (state.row,)
    return any(one.budget_tokens is not None or one.budget_money is not None for one in each)


async def form_sheet(visit: Visit, process_id: UUID | None) -> Record:
    """What a form offers to choose from, all of it the owner's; and the process, unless it is to be a new one."""
    async with visit.database.session() as session:
        process: Record | None = None
        owner = visit.user_id
        if process_id is not None:
            row = await processes.by_name(session, visit.sees, str(process_id))
            process, owner = with_parts(row, await processes.parts(session, row)), row.user_id
        return {
            "process": process,
            "logins": [_part(row) for row in await catalog.listed(session, MyMomentLogin, owner)],
            "templates": [_part(row) for row in await catalog.listed(session, PromptTemplate, owner)],
            "providers": [_part(row) for row in await catalog.listed(session, LLMProviderConfiguration, owner)],
        }


def _part(row: MyMomentLogin | PromptTemplate | LLMProviderConfiguration) -> Part:
    match row:
        case MyMomentLogin():
            more = row.base_url
        case LLMProviderConfiguration():
            more = row.model_name
        case _:
            more = ""
    return Part(row.id, row.name, more, row.is_active)


async def comment_sheet(visit: Visit, comment_id: UUID) -> Record:
    """A comment beside its article, with its whole history. Raise NotFound."""
    async with visit.database.session() as session:
        entry = await queue.one(session, visit.sees, comment_id)
        steps = await history.of_comment(session, comment_id)
    row = entry.row
    return review_desk.record(entry) | {
        "steps": steps,
        "posted_at": row.posted_at,
        "site_comment_id": row.mymoment_comment_id,
        "attempts": row.attempts,
        "retry_count": row.retry_count,
        "next_attempt_at": row.next_attempt_at,
        "failed_at": row.failed_at,
        "failed_from": row.failed_from,
        "was_hidden": row.is_hidden,
    }


async def list_sheet(visit: Visit, asked: Asked) -> Record:
    """A page of comments, the newest first, and the processes by which they can be filtered."""
    async with visit.database.session() as session:
        rows = await processes.listed(session, visit.sees)
        page = await review.listed(session, visit.sees, asked.wanted, PAGE, asked.after, short_ids=False)
    return {"page": page, "processes": [_named(row) for row in rows]}


def _named(row: MonitoringProcess) -> Record:
    return {"id": row.id, "name": row.name}


async def first_steps(visit: Visit) -> dict[str, bool]:
    """Which of the things that a first process needs are there."""
    async with visit.database.session() as session:
        return {
            "login": bool(await catalog.listed(session, MyMomentLogin, visit.sees)),
            "provider": bool(await catalog.listed(session, LLMProviderConfiguration, visit.sees)),
            "template": bool(await catalog.listed(session, PromptTemplate, visit.sees)),
        }
