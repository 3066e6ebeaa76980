"""Processes: what is watched, with which logins, templates and provider, and how it goes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.cli.output import Record
from console.cli.visit import Visit
from lib.monitoring import fields, lifecycle
from lib.monitoring.models import (
    LLMProviderConfiguration,
    MonitoringProcess,
    MyMomentLogin,
    ProcessStage,
    PromptTemplate,
)
from lib.monitoring.store import catalog, processes
from lib.monitoring.store.processes import ProcessParts

COUNTERS = ("articles_discovered", "articles_prepared", "comments_generated", "comments_posted")
ERRORS = ("discovery", "preparation", "generation", "posting")


@dataclass(frozen=True)
class ProcessChange:
    """What a process is to be; None stays as it is. An empty text clears a filter."""

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


@dataclass(frozen=True)
class _Parts:
    logins: tuple[UUID, ...]
    templates: tuple[UUID, ...]
    provider: UUID | None


def record(row: MonitoringProcess) -> Record:
    left = (row.expires_at - datetime.now(UTC)).total_seconds() if row.expires_at else 0
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "status": row.status,
        "posts": not row.generate_only,
        "hide_comments": row.hide_comments,
        "tab": row.tab_filter,
        "category": row.category_filter,
        "task": row.task_filter,
        "search": row.search_filter,
        "state": row.state_filter,
        "limit": row.article_limit,
        "max_minutes": row.max_duration_minutes,
        "seconds_left": max(0, round(left)) if row.status == "running" else None,
        "started_at": row.started_at,
        "expires_at": row.expires_at,
        "stopped_at": row.stopped_at,
        "stop_reason": row.stop_reason,
        "error": row.error_message,
        "counters": {name: getattr(row, name) for name in COUNTERS},
        "errors": {stage: getattr(row, f"errors_encountered_in_{stage}") for stage in ERRORS},
        "created_at": row.created_at,
    }


def _with_parts(row: MonitoringProcess, parts: ProcessParts) -> Record:
    return record(row) | {
        "logins": [login.name for login in parts.logins],
        "templates": [template.name for template in parts.templates],
        "provider": parts.provider.name if parts.provider else None,
        "sites": sorted({login.base_url for login in parts.logins}),
        "missing": lifecycle.missing(row, parts),
    }


def _stage(row: ProcessStage) -> Record:
    return {
        "stage": row.stage,
        "last_started_at": row.last_started_at,
        "last_success_at": row.last_success_at,
        "last_report": row.last_report,
        "last_error": row.last_error,
        "flow_run_id": row.flow_run_id,
    }


def _apply(row: MonitoringProcess, wanted: ProcessChange) -> None:
    texts = {
        "description": ("description", fields.word(wanted.description, "The description", 500)),
        "tab": ("tab_filter", fields.word(wanted.tab, "The tab", 100)),
        "category": ("category_filter", fields.number_id(wanted.category, "The category")),
        "task": ("task_filter", fields.number_id(wanted.task, "The task")),
        "search": ("search_filter", fields.word(wanted.search, "The search", 200)),
    }
    for given, (column, value) in texts.items():
        if getattr(wanted, given) is not None:
            setattr(row, column, value)
    plain: dict[str, Any] = {
        "state_filter": wanted.state,
        "article_limit": wanted.limit,
        "generate_only": None if wanted.post is None else not wanted.post,
        "hide_comments": wanted.hide_comments,
        "max_duration_minutes": wanted.max_minutes,
    }
    for column, value in plain.items():
        if value is not None:
            setattr(row, column, value)


async def _named_parts(session: AsyncSession, user_id: UUID, wanted: ProcessChange) -> _Parts:
    """Raise NotFound that names what there is."""
    logins = [(await catalog.by_name(session, MyMomentLogin, user_id, name)).id for name in wanted.logins]
    templates = [(await catalog.by_name(session, PromptTemplate, user_id, name)).id for name in wanted.templates]
    provider = None
    if wanted.provider is not None:
        provider = (await catalog.by_name(session, LLMProviderConfiguration, user_id, wanted.provider)).id
    return _Parts(tuple(dict.fromkeys(logins)), tuple(dict.fromkeys(templates)), provider)


async def add(visit: Visit, name: str, wanted: ProcessChange) -> Record:
    row = MonitoringProcess(user_id=visit.user_id, name=fields.name(name, "A process's name"))
    _apply(row, wanted)
    async with visit.database.session() as session:
        found = await _named_parts(session, visit.user_id, wanted)
        row.llm_provider_id = found.provider
        await processes.add(session, row, found.logins, found.templates)
        return _with_parts(row, await processes.parts(session, row))


async def change(visit: Visit, name: str, wanted: ProcessChange) -> Record:
    """Raise Conflict while it runs."""
    async with visit.database.session() as session:
        there = await processes.by_name(session, visit.user_id, name)
        row = await processes.at_rest(session, there.id)
        found = await _named_parts(session, visit.user_id, wanted)
        _apply(row, wanted)
        row.llm_provider_id = found.provider or row.llm_provider_id
        await processes.replace_parts(session, row, found.logins or None, found.templates or None)
        await session.flush()
        await session.refresh(row)
        return _with_parts(row, await processes.parts(session, row))


async def listed(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        rows = await processes.listed(session, visit.user_id)
        counts = await processes.pipeline_statuses(session, visit.user_id)
    return [record(row) | {"comments": _counts(counts.get(row.id, {}))} for row in rows]


def _counts(found: dict[str, int]) -> dict[str, int]:
    statuses = ("discovered", "prepared", "generated", "posted", "failed", "undecided")
    return {status: found.get(status, 0) for status in statuses}


async def show(visit: Visit, name: str) -> Record:
    async with visit.database.session() as session:
        row = await processes.by_name(session, visit.user_id, name)
        found = _with_parts(row, await processes.parts(session, row))
        counts = await processes.pipeline_statuses(session, visit.user_id)
        stages = await processes.stage_rows(session, row.id)
    return found | {"comments": _counts(counts.get(row.id, {})), "stages": [_stage(stage) for stage in stages]}


async def start(visit: Visit, name: str, *, check: bool) -> Record:
    row = await lifecycle.start(visit.desk(), name, check_credentials=check)
    if "PREFECT_API_URL" in os.environ:
        from deployments.limits import ensure_tag_limit  # noqa: PLC0415 - with Prefect, where there is a server

        await ensure_tag_limit(row.id)
    async with visit.database.session() as session:
        return _with_parts(row, await processes.parts(session, row))


async def stop(visit: Visit, name: str, *, completed: bool) -> Record:
    return record(await lifecycle.stop(visit.desk_without_secrets(), name, completed=completed))


async def find(visit: Visit, name: str) -> tuple[MonitoringProcess, int]:
    """The process, and how many records of comments go with it."""
    async with visit.database.session() as session:
        row = await processes.by_name(session, visit.user_id, name)
        return row, (await processes.pipeline_status(session, row.id))["total"]


async def remove(visit: Visit, name: str) -> Record:
    """Raise Conflict while it runs."""
    async with visit.database.session() as session:
        row = await processes.by_name(session, visit.user_id, name)
        total = (await processes.pipeline_status(session, row.id))["total"]
        await processes.remove(session, row)
    if "PREFECT_API_URL" in os.environ:
        from deployments.limits import remove_tag_limit  # noqa: PLC0415 - with Prefect, where there is a server

        await remove_tag_limit(row.id)
    return {"removed": name, "comments_forgotten": total}


async def process_id_to_run(visit: Visit, name: str | None) -> UUID | None:
    """Of the process to run a stage of; None is all. Raise NotFound."""
    if name is None:
        return None
    async with visit.database.session() as session:
        return (await processes.by_name(session, visit.user_id, name)).id
