"""What is measured of the work, in a few queries over everybody's things."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Select, String, bindparam, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from lib.monitoring.models import AIComment, LLMProviderConfiguration, MonitoringProcess, StageTick
from lib.monitoring.records import LLMUsage
from lib.monitoring.stages import STAGES, TAKES, Stage
from lib.monitoring.store.budgets import day
from lib.monitoring.store.comments import is_in_work, waiting
from lib.monitoring.store.scope import seen


@dataclass(frozen=True)
class ProcessFigures:
    """A process and what it did since it was made; `errors` by stage."""

    id: UUID
    name: str
    status: str
    posted: int
    errors: dict[Stage, int]


@dataclass(frozen=True)
class Backlog:
    """What waits for a stage. `oldest`: seconds, None where nothing waits."""

    number: int
    oldest: float | None


NOTHING = Backlog(0, None)


@dataclass(frozen=True)
class StageFigures:
    """What a stage could take now. `oldest`: seconds; the times are those of its ticks over all processes."""

    stage: Stage
    waiting: int
    oldest: float | None
    last_success_at: datetime | None
    last_failure_at: datetime | None


@dataclass(frozen=True)
class UsedToday:
    """What was used of a provider since its budgets' midnight. The name is None when the provider is gone."""

    provider_id: UUID
    name: str | None
    currency: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost: Decimal


@dataclass(frozen=True)
class Figures:
    """Everything. `comments`: their number by process and status; `in_work`: by status."""

    processes: tuple[ProcessFigures, ...]
    comments: dict[tuple[UUID, str], int]
    in_work: dict[str, int]
    stages: tuple[StageFigures, ...]
    used: tuple[UsedToday, ...]


async def read(session: AsyncSession, zone: str) -> Figures:
    """Five queries, however much there is. `zone`: of the budgets' days."""
    comments, in_work = await _comments(session)
    return Figures(
        processes=tuple(await _processes(session)),
        comments=comments,
        in_work=in_work,
        stages=tuple(await _stages(session)),
        used=tuple(await used_today(session, zone)),
    )


async def _processes(session: AsyncSession) -> list[ProcessFigures]:
    row = MonitoringProcess
    errors = [getattr(row, f"errors_encountered_in_{stage}") for stage in STAGES]
    statement = select(row.id, row.name, row.status, row.comments_posted, *errors).order_by(row.name, row.id)
    return [
        ProcessFigures(id_, name, status, posted, dict(zip(STAGES, failed, strict=True)))
        for id_, name, status, posted, *failed in await session.execute(statement)
    ]


async def _comments(session: AsyncSession) -> tuple[dict[tuple[UUID, str], int], dict[str, int]]:
    process, status = AIComment.monitoring_process_id, AIComment.status
    all_of_them = select(literal("all").label("which"), process, status, func.count()).group_by(process, status)
    in_work = select(literal("in_work"), process, status, func.count()).where(is_in_work()).group_by(process, status)
    comments: dict[tuple[UUID, str], int] = {}
    held: dict[str, int] = {}
    for which, process_id, of_status, number in await session.execute(union_all(all_of_them, in_work)):
        if which == "all":
            comments[process_id, of_status] = number
        else:
            held[of_status] = held.get(of_status, 0) + number
    return comments, held


async def backlog(session: AsyncSession, sees: UUID | None) -> dict[Stage, Backlog]:
    """What each stage but discovery could take now."""
    rows = await session.execute(union_all(*(_waiting(stage, sees) for stage in TAKES)))
    return {stage: Backlog(number, None if oldest is None else float(oldest)) for stage, number, oldest in rows}


async def _stages(session: AsyncSession) -> list[StageFigures]:
    waits = await backlog(session, None)
    ticks = select(StageTick.stage, StageTick.last_success_at, StageTick.last_failure_at)
    ended = {stage: (success, failure) for stage, success, failure in await session.execute(ticks)}
    return [_stage(stage, waits.get(stage, NOTHING), ended.get(stage, (None, None))) for stage in STAGES]


def _stage(stage: Stage, waits: Backlog, ended: tuple[Any, Any]) -> StageFigures:
    return StageFigures(stage, waits.number, waits.oldest, *ended)


def _waiting(stage: Stage, sees: UUID | None) -> Select[Any]:
    age = func.extract("epoch", func.now() - func.min(AIComment.updated_at))
    return (
        select(literal(stage), func.count(), age)
        .select_from(AIComment)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(waiting(stage), seen(MonitoringProcess.user_id, sees))
    )


async def used_today(
    session: AsyncSession, zone: str, sees: UUID | None = None, provider_id: UUID | None = None
) -> list[UsedToday]:
    """Of every provider that was used; of one that is gone only where everybody's are seen."""
    usage, provider = LLMUsage, LLMProviderConfiguration
    statement = (
        select(
            usage.provider_id,
            provider.name,
            func.max(usage.currency),
            func.sum(usage.calls),
            func.sum(usage.input_tokens),
            func.sum(usage.output_tokens),
            func.sum(usage.cost),
        )
        .outerjoin(provider, provider.id == usage.provider_id)
        .where(usage.day == day(bindparam("the_zone", type_=String())), seen(provider.user_id, sees))
        .group_by(usage.provider_id, provider.name)
        .order_by(provider.name, usage.provider_id)
    )
    if provider_id is not None:
        statement = statement.where(usage.provider_id == provider_id)
    return [
        UsedToday(id_, name, currency, int(calls), int(asked), int(answered), cost)
        for id_, name, currency, calls, asked, answered, cost in await session.execute(statement, {"the_zone": zone})
    ]
