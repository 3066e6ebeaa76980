"""Users and what they own: logins, providers, templates."""

from collections.abc import Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.errors import Conflict, Invalid, NotFound
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
from lib.monitoring.store.scope import NAMED, called, seen, some_of

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
        raise Conflict(f"There is a {KIND[type(row)]} “{row.name}” already", "name") from error
    return row


async def write(session: AsyncSession, row: Owned) -> None:
    """Bring its changes to the database. Raise Conflict when the owner has another one of that name."""
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict(f"There is a {KIND[type(row)]} “{row.name}” already", "name") from error
    await session.refresh(row)


async def listed(session: AsyncSession, kind: type[Owned], sees: UUID | None) -> Sequence[Owned]:
    """In the order of their names; templates of the system too."""
    statement = select(kind).where(_visible(kind, sees)).order_by(kind.name, kind.id)
    return (await session.scalars(statement)).all()


async def by_name(session: AsyncSession, kind: type[Owned], sees: UUID | None, reference: str) -> Owned:
    """By name or id. Raise NotFound that names what there is, or Invalid for a name that several owners use."""
    statement = select(kind).where(_visible(kind, sees), called(kind, reference)).order_by(kind.user_id.is_(None))
    found = (await session.scalars(statement.limit(2))).all()
    if not found:
        there = some_of((await session.scalars(_names(kind, sees))).all())
        raise NotFound(f"There is no {KIND[kind]} “{reference}”; there are: {there}")
    if len(found) > 1 and found[1].user_id is not None:
        raise Invalid(f"Several owners have a {KIND[kind]} “{reference}”; name it by its id")
    return found[0]


def _names(kind: type[Owned], sees: UUID | None) -> Select[tuple[str]]:
    return select(kind.name).where(_visible(kind, sees)).order_by(kind.name).limit(NAMED + 1)


async def locked(session: AsyncSession, kind: type[Owned], sees: UUID | None, reference: str) -> Owned:
    """The same, as it is now and until the end of the transaction. Raise NotFound."""
    row = await by_name(session, kind, sees, reference)
    statement = select(kind).where(kind.id == row.id).with_for_update().execution_options(populate_existing=True)
    there = (await session.scalars(statement)).first()
    if there is None:
        raise NotFound(f"The {KIND[kind]} “{reference}” was removed a moment ago")
    return there


async def remove(session: AsyncSession, row: Owned) -> None:
    """Raise Conflict while a process or a comment refers to it, and for what belongs to the system."""
    kind = type(row)
    if row.user_id is None:
        raise Conflict(f"The template “{row.name}” belongs to the system and stays")
    try:
        await session.execute(delete(kind).where(kind.id == row.id))
    except IntegrityError as error:
        raise Conflict(
            f"The {KIND[kind]} “{row.name}” is used by a process or its comments; remove those first"
        ) from error


def _visible(kind: type[Owned], sees: UUID | None) -> Any:
    mine = seen(kind.user_id, sees)
    return or_(mine, kind.user_id.is_(None)) if kind is PromptTemplate else mine


async def template_by_id(session: AsyncSession, template_id: UUID) -> PromptTemplate:
    row = await session.get(PromptTemplate, template_id)
    if row is None:
        raise NotFound(f"There is no template {template_id}")
    return row


async def wake_waiting(session: AsyncSession, *, login_id: UUID | None = None, provider_id: UUID | None = None) -> None:
    """After a login or provider was changed: what waited because it was refused need not wait any longer.

    What was sent still waits: it has to have arrived before it is looked for.
    """
    of_provider = and_(AIComment.llm_provider_id == provider_id, AIComment.status == "prepared")
    uses = AIComment.mymoment_login_id == login_id if login_id else of_provider
    await session.execute(
        update(AIComment)
        .where(uses, AIComment.status != "failed", AIComment.post_sent_at.is_(None))
        .where(AIComment.next_attempt_at > func.now())
        .values(next_attempt_at=None)
    )
    if login_id:
        await session.execute(
            update(MyMomentLogin)
            .where(MyMomentLogin.id == login_id)
            .values(next_login_at=None, failed_logins=0, refused_since=None, error_message=None)
        )


async def used_by(session: AsyncSession, row: Owned, sees: UUID | None = None) -> list[str]:
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
            mine = or_(MonitoringProcess.llm_provider_id == row.id, MonitoringProcess.fallback_provider_id == row.id)
    names = select(MonitoringProcess.name).where(mine, seen(MonitoringProcess.user_id, sees))
    return list(await session.scalars(names.order_by(MonitoringProcess.name)))


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
