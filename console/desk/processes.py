"""Processes: what is watched, with which logins, templates and provider, and how it goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import given, process_records, tags, trail
from console.desk.process_records import comment_counts, record, stage_record, with_parts
from console.desk.visit import Visit
from console.record import Record
from lib.errors import Invalid, NotFound
from lib.monitoring import fields, lifecycle, presets
from lib.monitoring.models import LLMProviderConfiguration, MonitoringProcess, MyMomentLogin, PromptTemplate
from lib.monitoring.store import budgets, catalog, overview, processes, review
from lib.monitoring.store.overview import ProcessState

STATES = ("publiziert", "entwurf", "lehrpersonenkontrolle", "any")
MOST_ARTICLES = 1000
MOST_MINUTES = 1440
RECENT = 20


@dataclass(frozen=True)
class ProcessChange:
    """What a process is to be; None stays as it is. An empty text clears a filter or the fallback, 0 the limit.

    `budget_tokens`, `budget_money`: a day's; below 0 takes it away.
    """

    logins: Sequence[str] = ()
    templates: Sequence[str] = ()
    provider: str | None = None
    description: str | None = None
    tab: str | None = None
    category: str | None = None
    task: str | None = None
    search: str | None = None
    state: str | None = None
    limit: int | None = None
    post: bool | None = None
    hide_comments: bool | None = None
    max_minutes: int | None = None
    name: str | None = None
    fallback: str | None = None
    budget_tokens: int | None = None
    budget_money: Decimal | None = None


@dataclass(frozen=True)
class _Parts:
    """Ids; a fallback of None stays, an empty one clears."""

    logins: tuple[UUID, ...]
    templates: tuple[UUID, ...]
    provider: UUID | None
    fallback: UUID | str | None


def _texts(wanted: ProcessChange) -> dict[str, Any]:
    """By column, those that were given; an empty one is None."""
    found: dict[str, Any] = {}
    with given.field("description"):
        found["description"] = fields.word(wanted.description, "The description", 500)
    with given.field("tab"):
        found["tab_filter"] = fields.word(wanted.tab, "The tab", 100)
    with given.field("category"):
        found["category_filter"] = fields.number_id(wanted.category, "The category")
    with given.field("task"):
        found["task_filter"] = fields.number_id(wanted.task, "The task")
    with given.field("search"):
        found["search_filter"] = fields.word(wanted.search, "The search", 200)
    return {
        column: text for column, text in found.items() if getattr(wanted, column.removesuffix("_filter")) is not None
    }


def _apply(row: MonitoringProcess, wanted: ProcessChange) -> None:
    minutes = given.number(wanted.max_minutes, "The time", 1, MOST_MINUTES, name="max_minutes")
    limit = given.number(wanted.limit, "The number of articles", 0, MOST_ARTICLES, name="limit")
    plain = {
        "name": None if wanted.name is None else given.new_name(wanted.name, "A process's name"),
        "state_filter": given.one_of(wanted.state, "The state", STATES, name="state"),
        "generate_only": None if wanted.post is None else not wanted.post,
        "hide_comments": wanted.hide_comments,
        "max_duration_minutes": minutes,
    }
    values: dict[str, Any] = {column: value for column, value in plain.items() if value is not None}
    if limit is not None:
        values["article_limit"] = limit or None
    for column, value in (values | _texts(wanted)).items():
        setattr(row, column, value)
    with given.field("budget_money" if wanted.budget_tokens is None else "budget_tokens"):
        presets.apply_budget(row, wanted.budget_tokens, wanted.budget_money)


async def _named_parts(session: AsyncSession, owner: UUID, wanted: ProcessChange) -> _Parts:
    """All of them the owner's, whoever chooses. Raise NotFound that names what there is."""
    with given.field("logins"):
        logins = [(await catalog.by_name(session, MyMomentLogin, owner, name)).id for name in wanted.logins]
    with given.field("templates"):
        templates = [(await catalog.by_name(session, PromptTemplate, owner, name)).id for name in wanted.templates]
    provider: UUID | None = None
    if wanted.provider is not None:
        with given.field("provider"):
            provider = (await catalog.by_name(session, LLMProviderConfiguration, owner, wanted.provider)).id
    fallback: UUID | str | None = wanted.fallback
    if wanted.fallback:
        with given.field("fallback"):
            fallback = (await catalog.by_name(session, LLMProviderConfiguration, owner, wanted.fallback)).id
    return _Parts(tuple(dict.fromkeys(logins)), tuple(dict.fromkeys(templates)), provider, fallback)


async def _set_providers(session: AsyncSession, row: MonitoringProcess, found: _Parts) -> None:
    row.llm_provider_id = found.provider or row.llm_provider_id
    if found.fallback is not None:
        row.fallback_provider_id = found.fallback if isinstance(found.fallback, UUID) else None
    if row.fallback_provider_id is not None and row.fallback_provider_id == row.llm_provider_id:
        raise Invalid("The fallback must be another provider than the first one", "fallback")
    if row.budget_money is not None:
        ids = [id_ for id_ in (row.llm_provider_id, row.fallback_provider_id) if id_ is not None]
        with session.no_autoflush:
            presets.check_money(await budgets.priced(session, ids))


async def add(visit: Visit, name: str, wanted: ProcessChange) -> Record:
    row = MonitoringProcess(user_id=visit.user_id, name=given.new_name(name, "A process's name"))
    _apply(row, wanted)
    async with visit.database.session() as session:
        found = await _named_parts(session, visit.user_id, wanted)
        await _set_providers(session, row, found)
        await processes.add(session, row, found.logins, found.templates)
        await trail.note(session, visit, "process.add", row.id, {"name": row.name, "posts": not row.generate_only})
        return with_parts(row, await processes.parts(session, row))


async def change(visit: Visit, name: str, wanted: ProcessChange, version: str | None = None) -> Record:
    """Raise Conflict while it runs, or when it is not as it was seen."""
    async with visit.database.session() as session:
        there = await processes.by_name(session, visit.sees, name)
        row = await processes.at_rest(session, there.id)
        before = process_records.version(row, await processes.parts(session, row))
        given.as_seen(f"The process “{row.name}”", before, version)
        found = await _named_parts(session, row.user_id, wanted)
        _apply(row, wanted)
        await _set_providers(session, row, found)
        details = {"name": there.name, "changed": trail.changes(row)}
        details |= {what: list(given_ones) for what in ("logins", "templates") if (given_ones := getattr(wanted, what))}
        await processes.replace_parts(session, row, found.logins or None, found.templates or None)
        await processes.write(session, row)
        await trail.note(session, visit, "process.change", row.id, details)
        return with_parts(row, await processes.parts(session, row))


async def listed(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        states = await overview.states(session, visit.sees)
        counts = await overview.counts(session, visit.sees)
    return [
        record(state.row)
        | {
            "owner": state.owner,
            "comments": comment_counts(counts.get(state.row.id)),
            "posting_on": counts.get(state.row.id, overview.NOTHING).posting_on,
        }
        for state in states
    ]


async def find_state(session: AsyncSession, visit: Visit, name: str) -> ProcessState:
    """Raise NotFound that names what there is, or Invalid for a name that several owners use."""
    found = await overview.states(session, visit.sees, name)
    if not found:
        raise NotFound(f"There is no process “{name}”; there are: {await processes.names(session, visit.sees)}")
    if len(found) > 1:
        raise Invalid(f"Several owners have a process “{name}”; name it by its id")
    return found[0]


async def show(visit: Visit, name: str, recent: int = RECENT) -> Record:
    """All that there is to say of one: settings, parts, what it lacks, stages, counts, its last comments."""
    async with visit.database.session() as session:
        state = await find_state(session, visit, name)
        row = state.row
        found = with_parts(row, await processes.parts(session, row))
        counts = (await overview.counts(session, visit.sees, row.id)).get(row.id, overview.NOTHING)
        lines = await review.newest(session, visit.sees, row.id, recent)
    return found | {
        "owner": state.owner,
        "fallback": state.fallback,
        "comments": comment_counts(counts),
        "stages": [stage_record(stage, row, counts) for stage in state.stages],
        "posted_per_hour": list(counts.posted_per_hour),
        "recent": lines,
    }


async def pipeline_status(visit: Visit, name: str) -> Record:
    """How many comments stand where, `rejected` ones among the generated."""
    async with visit.database.session() as session:
        row = await processes.by_name(session, visit.sees, name)
        counts = (await overview.counts(session, visit.sees, row.id)).get(row.id, overview.NOTHING)
    found = comment_counts(counts)
    total = {"rejected": counts.rejected, "total": counts.total}
    return {"process_id": row.id, "process": row.name, "status": row.status} | found | total


async def start(visit: Visit, name: str, *, check: bool) -> Record:
    async def note(session: AsyncSession, row: MonitoringProcess) -> None:
        await trail.note(session, visit, "process.start", row.id, {"name": row.name, "posts": not row.generate_only})

    row = await lifecycle.start(visit.desk(), name, check_credentials=check, also=note)
    await tags.limit(row.id)
    async with visit.database.session() as session:
        return with_parts(row, await processes.parts(session, row))


async def stop(visit: Visit, name: str, *, completed: bool) -> Record:
    """Return when nothing more can be posted for it."""

    async def note(session: AsyncSession, row: MonitoringProcess) -> None:
        await trail.note(session, visit, "process.stop", row.id, {"name": row.name, "completed": completed})

    return record(await lifecycle.stop(visit.desk_without_secrets(), name, completed=completed, also=note))


async def stop_all(visit: Visit) -> Record:
    """Stop every process that is seen, and return when nothing more can be posted for any.

    `stopped`: those that ran, or had ended and would still have posted what was approved since.
    """
    async with visit.database.session() as session:
        ended = [*await processes.end_all(session, visit.sees), *await processes.hold(session, visit.sees)]
        for row in ended:
            await trail.note(session, visit, "process.stop", row.id, {"name": row.name, "all": True})
        every = await processes.listed(session, visit.sees)
    await lifecycle.until_quiet(visit.desk_without_secrets(), every)
    return {"stopped": [row.name for row in ended]}


async def find(visit: Visit, name: str) -> tuple[MonitoringProcess, int]:
    """The process, and how many records of comments go with it."""
    async with visit.database.session() as session:
        row = await processes.by_name(session, visit.sees, name)
        return row, (await processes.pipeline_status(session, row.id))["total"]


async def remove(visit: Visit, name: str, version: str | None = None) -> Record:
    """Raise Conflict while it runs, or when it is not as it was seen."""
    async with visit.database.session() as session:
        row = await processes.by_name(session, visit.sees, name)
        if version is not None:
            now = process_records.version(row, await processes.parts(session, row))
            given.as_seen(f"The process “{row.name}”", now, version)
        total = (await processes.pipeline_status(session, row.id))["total"]
        await processes.remove(session, row)
        await trail.note(session, visit, "process.remove", row.id, {"name": row.name, "comments_forgotten": total})
    await tags.forget(row.id)
    return {"removed": row.name, "comments_forgotten": total}


async def process_id_to_run(visit: Visit, name: str | None) -> UUID | None:
    """Of the process to run a stage of; None is all. Raise NotFound."""
    if name is None:
        return None
    async with visit.database.session() as session:
        return (await processes.by_name(session, visit.sees, name)).id
