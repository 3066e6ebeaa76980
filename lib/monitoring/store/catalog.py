"""Users and what they own: logins, providers, templates."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.errors import Conflict, NotFound
from lib.monitoring.models import (
    AIComment,
    LLMProviderConfiguration,
    MonitoringProcess,
    MyMomentLogin,
    ProcessLogin,
    ProcessTemplate,
    PromptTemplate,
    User,
)
from lib.monitoring.store import logins

Owned = TypeVar("Owned", MyMomentLogin, LLMProviderConfiguration, PromptTemplate)

KIND: dict[type[Any], str] = {
    MyMomentLogin: "login",
    LLMProviderConfiguration: "provider",
    PromptTemplate: "template",
}


async def ensure_user(session: AsyncSession, name: str) -> UUID:
    """The user of that name, made if there is none."""
    statement = insert(User).values(id=work.new_id(), name=name).on_conflict_do_nothing(index_elements=[User.name])
    await session.execute(statement)
    return (await session.execute(select(User.id).where(User.name == name))).scalar_one()


async def add(session: AsyncSession, row: Owned) -> Owned:
    """Raise Conflict when the owner has one of that name already."""
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict(f"There is a {KIND[type(row)]} “{row.name}” already") from error
    return row


async def listed(session: AsyncSession, kind: type[Owned], user_id: UUID) -> Sequence[Owned]:
    """In the order of their names; templates of the system too."""
    statement = select(kind).where(_visible(kind, user_id)).order_by(kind.name)
    return (await session.scalars(statement)).all()


async def by_name(session: AsyncSession, kind: type[Owned], user_id: UUID, name: str) -> Owned:
    """Raise NotFound, naming what there is."""
    statement = select(kind).where(_visible(kind, user_id), kind.name == name).order_by(kind.user_id.is_(None))
    found = (await session.scalars(statement)).first()
    if found is None:
        there = ", ".join(row.name for row in await listed(session, kind, user_id)) or "none yet"
        raise NotFound(f"There is no {KIND[kind]} “{name}”; there are: {there}")
    return found


async def remove(session: AsyncSession, kind: type[Owned], user_id: UUID, name: str) -> None:
    """Raise NotFound, or Conflict while a process or a comment refers to it."""
    row = await by_name(session, kind, user_id, name)
    if row.user_id is None:
        raise Conflict(f"The template “{name}” belongs to the system and stays")
    try:
        await session.execute(delete(kind).where(kind.id == row.id))
    except IntegrityError as error:
        raise Conflict(f"The {KIND[kind]} “{name}” is used by a process or its comments; remove those first") from error


def _visible(kind: type[Owned], user_id: UUID) -> Any:
    mine = kind.user_id == user_id
    return or_(mine, kind.user_id.is_(None)) if kind is PromptTemplate else mine


async def provider_by_id(session: AsyncSession, provider_id: UUID) -> LLMProviderConfiguration:
    row = await session.get(LLMProviderConfiguration, provider_id)
    if row is None:
        raise NotFound(f"There is no provider {provider_id}")
    return row


async def template_by_id(session: AsyncSession, template_id: UUID) -> PromptTemplate:
    row = await session.get(PromptTemplate, template_id)
    if row is None:
        raise NotFound(f"There is no template {template_id}")
    return row


async def wake_waiting(session: AsyncSession, *, login_id: UUID | None = None, provider_id: UUID | None = None) -> None:
    """After a login or provider was changed: what waited because it was refused need not wait any longer."""
    uses = AIComment.mymoment_login_id == login_id if login_id else AIComment.llm_provider_id == provider_id
    await session.execute(
        update(AIComment)
        .where(uses, AIComment.status != "failed", AIComment.next_attempt_at > func.now())
        .values(next_attempt_at=None)
    )
    if login_id:
        await session.execute(
            update(MyMomentLogin)
            .where(MyMomentLogin.id == login_id)
            .values(next_login_at=None, failed_logins=0, error_message=None)
        )


async def used_by(session: AsyncSession, row: Owned) -> list[str]:
    """The names of the processes that refer to it."""
    mine: ColumnElement[bool]
    match row:
        case MyMomentLogin():
            mine = MonitoringProcess.id.in_(
                select(ProcessLogin.monitoring_process_id).where(ProcessLogin.mymoment_login_id == row.id)
            )
        case PromptTemplate():
            mine = MonitoringProcess.id.in_(
                select(ProcessTemplate.monitoring_process_id).where(ProcessTemplate.prompt_template_id == row.id)
            )
        case _:
            mine = MonitoringProcess.llm_provider_id == row.id
    return list(await session.scalars(select(MonitoringProcess.name).where(mine).order_by(MonitoringProcess.name)))


async def free_account(session: AsyncSession, login: MyMomentLogin) -> None:
    """Before a login becomes another account: raise Conflict while the present one is needed, and end its session.

    Only the account that sent a comment can read back whether it arrived.
    """
    await session.execute(select(MyMomentLogin.id).where(MyMomentLogin.id == login.id).with_for_update())
    own = select(ProcessLogin.monitoring_process_id).where(ProcessLogin.mymoment_login_id == login.id)
    running = await session.scalars(
        select(MonitoringProcess.name).where(MonitoringProcess.id.in_(own), MonitoringProcess.status == "running")
    )
    if names := ", ".join(f"“{name}”" for name in running):
        raise Conflict(f"The login “{login.name}” is used by a running process ({names}); stop it first")
    mine = AIComment.mymoment_login_id == login.id
    unsure = or_(AIComment.post_sent_at.is_not(None), work.held(AIComment))
    number = await session.scalar(select(func.count()).where(mine, AIComment.status != "posted", unsure))
    if number:
        raise Conflict(
            f"{number} comments of the login “{login.name}” were sent and only its present account can tell whether "
            "they arrived; add another login instead"
        )
    await logins.end_session(session, login.id)


SECRETS: tuple[tuple[type[Any], str], ...] = (
    (MyMomentLogin, "username_encrypted"),
    (MyMomentLogin, "password_encrypted"),
    (LLMProviderConfiguration, "api_key_encrypted"),
)
