"""Which processes use a login, a provider or a template, and how many comments."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, union
from sqlalchemy.ext.asyncio import AsyncSession

from lib.monitoring.models import (
    AIComment,
    LLMProviderConfiguration,
    MonitoringProcess,
    MyMomentLogin,
    ProcessLogin,
    ProcessTemplate,
    PromptTemplate,
)
from lib.monitoring.store.scope import seen

Kind = type[MyMomentLogin] | type[LLMProviderConfiguration] | type[PromptTemplate]


@dataclass(frozen=True)
class Use:
    """A process that uses a thing."""

    process_id: UUID
    name: str
    status: str


async def uses(
    session: AsyncSession, kind: Kind, sees: UUID | None, ids: Sequence[UUID] | None = None
) -> dict[UUID, list[Use]]:
    """By the thing's id, in the order of the processes' names; `ids`: of these things alone."""
    pairs = _pairs(kind).subquery()
    statement = (
        select(pairs.c.thing, MonitoringProcess.id, MonitoringProcess.name, MonitoringProcess.status)
        .join(MonitoringProcess, MonitoringProcess.id == pairs.c.process)
        .where(seen(MonitoringProcess.user_id, sees))
        .order_by(MonitoringProcess.name, MonitoringProcess.id)
    )
    if ids is not None:
        statement = statement.where(pairs.c.thing.in_(ids))
    found: dict[UUID, list[Use]] = {}
    for thing, *use in await session.execute(statement):
        found.setdefault(thing, []).append(Use(*use))
    return found


async def comments_of(session: AsyncSession, kind: Kind, thing_id: UUID) -> int:
    """How many comments refer to it, which keep it from being removed."""
    columns: dict[Kind, Any] = {
        MyMomentLogin: AIComment.mymoment_login_id,
        LLMProviderConfiguration: AIComment.llm_provider_id,
        PromptTemplate: AIComment.prompt_template_id,
    }
    statement = select(func.count()).select_from(AIComment).where(columns[kind] == thing_id)
    return int(await session.scalar(statement) or 0)


def _pairs(kind: Kind) -> Any:
    """Each thing with the process that uses it."""
    if kind is MyMomentLogin:
        return _pair(ProcessLogin.mymoment_login_id, ProcessLogin.monitoring_process_id)
    if kind is PromptTemplate:
        return _pair(ProcessTemplate.prompt_template_id, ProcessTemplate.monitoring_process_id)
    process = MonitoringProcess
    return union(_pair(process.llm_provider_id, process.id), _pair(process.fallback_provider_id, process.id))


def _pair(thing: Any, process: Any) -> Select[Any]:
    return select(thing.label("thing"), process.label("process"))
