"""Logins, providers and templates as their pages show them: whose they are, who uses them, what they took."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import logins as login_desk
from console.desk import providers as provider_desk
from console.desk import templates as template_desk
from console.desk.visit import Visit
from console.record import Record
from lib.monitoring.models import LLMProviderConfiguration, MyMomentLogin, PromptTemplate
from lib.monitoring.store import articles as article_store
from lib.monitoring.store import budgets, catalog, metrics
from lib.monitoring.store.uses import comments_of, uses
from lib.people.store import accounts

Owned = TypeVar("Owned", MyMomentLogin, LLMProviderConfiguration, PromptTemplate)
Describe = Callable[[Owned], Record]

ARTICLES = 20


async def logins(visit: Visit) -> list[Record]:
    async with visit.database.session() as session:
        rows = await catalog.listed(session, MyMomentLogin, visit.sees)
        return await _described(session, visit, MyMomentLogin, rows, login_desk.record)


async def login(visit: Visit, login_id: UUID) -> Record:
    """Raise NotFound."""
    async with visit.database.session() as session:
        row = await catalog.by_name(session, MyMomentLogin, visit.sees, str(login_id))
        return await _one(session, visit, MyMomentLogin, row, login_desk.record)


async def providers(visit: Visit) -> list[Record]:
    """With what was used of each today, and how much that is of its budgets."""
    async with visit.database.session() as session:
        rows = await catalog.listed(session, LLMProviderConfiguration, visit.sees)
        found = await _described(session, visit, LLMProviderConfiguration, rows, provider_desk.record)
        return await _with_use(session, visit, found, None)


async def provider(visit: Visit, provider_id: UUID) -> Record:
    """Raise NotFound."""
    async with visit.database.session() as session:
        row = await catalog.by_name(session, LLMProviderConfiguration, visit.sees, str(provider_id))
        found = await _one(session, visit, LLMProviderConfiguration, row, provider_desk.record)
        return (await _with_use(session, visit, [found], row.id))[0]


async def templates(visit: Visit) -> list[Record]:
    """One's own, and those of the system."""
    async with visit.database.session() as session:
        rows = await catalog.listed(session, PromptTemplate, visit.sees)
        return await _described(session, visit, PromptTemplate, rows, template_desk.record)


async def template(visit: Visit, template_id: UUID) -> Record:
    """With its prompts. Raise NotFound."""
    async with visit.database.session() as session:
        row = await catalog.by_name(session, PromptTemplate, visit.sees, str(template_id))
        found = await _one(session, visit, PromptTemplate, row, template_desk.record)
        return found | {"system_prompt": row.system_prompt, "user_prompt": row.user_prompt_template}


async def articles(visit: Visit) -> list[tuple[UUID, str]]:
    """The latest articles to try a prompt on: the id of a comment on each, and the title."""
    async with visit.database.session() as session:
        return await article_store.latest(session, visit.sees, ARTICLES)


async def _one(session: AsyncSession, visit: Visit, kind: type[Owned], row: Owned, describe: Describe[Owned]) -> Record:
    """With how many comments refer to it: it is removed with neither these nor a process."""
    (found,) = await _described(session, visit, kind, [row], describe)
    return found | {"comments": await comments_of(session, kind, row.id)}


async def _described(
    session: AsyncSession, visit: Visit, kind: type[Owned], rows: Sequence[Owned], describe: Describe[Owned]
) -> list[Record]:
    used = await uses(session, kind, visit.sees, [row.id for row in rows])
    owners = await _owners(session, visit)
    return [describe(row) | {"owner": owners.get(row.user_id), "processes": used.get(row.id, [])} for row in rows]


async def _owners(session: AsyncSession, visit: Visit) -> Mapping[Any, str]:
    """Names by id, for whoever sees the things of several."""
    return {} if visit.sees is not None else {each.id: each.name for each in await accounts.everybody(session)}


async def _with_use(session: AsyncSession, visit: Visit, found: list[Record], provider_id: UUID | None) -> list[Record]:
    zone = visit.settings.budget_timezone
    used = {each.provider_id: each for each in await metrics.used_today(session, zone, visit.sees, provider_id)}
    limited = any(each["budget_tokens"] is not None or each["budget_money"] is not None for each in found)
    standings = await budgets.standings(session, zone, visit.sees) if limited else []
    return [
        each
        | {"used": used.get(each["id"]), "budgets": [standing for standing in standings if standing.id == each["id"]]}
        for each in found
    ]
