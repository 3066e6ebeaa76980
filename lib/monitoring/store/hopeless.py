"""Running processes that can never work any more: found and failed."""

from collections import defaultdict
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, func, literal, null, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession

from lib.monitoring.decline import Means, Part, decline
from lib.monitoring.models import (
    LLMProviderConfiguration,
    MonitoringProcess,
    MyMomentLogin,
    ProcessLogin,
    ProcessTemplate,
    PromptTemplate,
)
from lib.monitoring.store import processes


async def fail_hopeless(session: AsyncSession) -> list[str]:
    """End every running process that has declined for good as failed; return their names."""
    names = {row.id: row.name for row in await session.execute(_running())}
    if not names:
        return []
    found: dict[UUID, dict[str, list[Part]]] = defaultdict(lambda: defaultdict(list))
    for process_id, kind, name, useless in await session.execute(_parts()):
        found[process_id][kind].append(Part(name, None if useless is None else float(useless)))
    failed = []
    for process_id in sorted(names):
        parts = found[process_id]
        declined = decline(Means(parts["login"], parts["template"], parts["provider"]))
        if declined and await processes.end(session, process_id, "failed", declined.reason, declined.words):
            failed.append(names[process_id])
    return failed


def _running() -> Select[tuple[UUID, str]]:
    mine = MonitoringProcess.status == "running"
    return select(MonitoringProcess.id, MonitoringProcess.name).where(mine)


def _since(moment: Any) -> ColumnElement[Any]:
    return func.extract("epoch", func.now() - moment)


def _off(kind: Any) -> ColumnElement[Any]:
    """Seconds since it was switched off: it has not been changed since."""
    return case((kind.is_active, null()), else_=_since(kind.updated_at))


def _parts() -> Any:
    login, template, provider = MyMomentLogin, PromptTemplate, LLMProviderConfiguration
    refused = case((login.failed_logins > 0, _since(login.refused_since)), else_=null())
    running = MonitoringProcess.status == "running"
    logins = (
        select(MonitoringProcess.id, literal("login"), login.name, func.greatest(refused, _off(login)))
        .join(ProcessLogin, ProcessLogin.monitoring_process_id == MonitoringProcess.id)
        .join(login, login.id == ProcessLogin.mymoment_login_id)
        .where(running)
    )
    templates = (
        select(MonitoringProcess.id, literal("template"), template.name, _off(template))
        .join(ProcessTemplate, ProcessTemplate.monitoring_process_id == MonitoringProcess.id)
        .join(template, template.id == ProcessTemplate.prompt_template_id)
        .where(running)
    )
    either = or_(
        provider.id == MonitoringProcess.llm_provider_id, provider.id == MonitoringProcess.fallback_provider_id
    )
    providers = (
        select(MonitoringProcess.id, literal("provider"), provider.name, _off(provider)).join(provider, either)
    ).where(running)
    return union_all(logins, templates, providers)
