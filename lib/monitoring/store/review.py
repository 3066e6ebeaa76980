"""Comments as people see them: found, shown, approved, rejected, tried again.

Each decision is one UPDATE that names the state it starts from, so that it cannot cross a worker's claim.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, String, case, cast, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.errors import Conflict, Invalid, NotFound
from lib.monitoring.models import (
    AIComment,
    LLMProviderConfiguration,
    MonitoringProcess,
    MyMomentLogin,
    PromptTemplate,
)
from lib.monitoring.stages import CommentStatus

ApprovalFilter = Literal["approved", "rejected", "none"]

ID_CHARS = 32
SHORTEST_ID = 6
SHORT_ID = 8


@dataclass(frozen=True)
class Wanted:
    """Which comments to list; None is any. An approval of `none` finds what nobody has decided on."""

    process_id: UUID | None = None
    status: CommentStatus | None = None
    approval: ApprovalFilter | None = None


@dataclass(frozen=True)
class CommentLine:
    """A comment in a list. `short_id`: an ending of the id that no other comment of the user has."""

    id: UUID
    short_id: str
    process: str
    login: str
    status: str
    approval: str | None
    article_id: str
    article_title: str
    error: str | None
    created_at: datetime
    posted_at: datetime | None
    next_attempt_at: datetime | None


@dataclass(frozen=True)
class CommentPage:
    """`next`: what to ask for `after` to see the following ones; None on the last page."""

    comments: tuple[CommentLine, ...]
    next: UUID | None


@dataclass(frozen=True)
class CommentDetails:
    """All of one comment, with the names of what it refers to. `in_work`: a worker holds it now."""

    row: AIComment
    process: str
    login: str
    template: str
    provider: str | None
    in_work: bool


@dataclass(frozen=True)
class Decided:
    """What a decision changed and what it found done already. `sent`: those that were sent once before."""

    changed: tuple[UUID, ...]
    unchanged: tuple[UUID, ...] = ()
    sent: tuple[UUID, ...] = ()


async def listed(session: AsyncSession, user_id: UUID, wanted: Wanted, limit: int, after: UUID | None) -> CommentPage:
    """Newest first, from behind `after` on."""
    statement = (
        select(AIComment, MonitoringProcess.name, MyMomentLogin.name)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .join(MyMomentLogin, MyMomentLogin.id == AIComment.mymoment_login_id)
        .where(AIComment.user_id == user_id, *_conditions(wanted))
        .order_by(AIComment.id.desc())
        .limit(limit + 1)
    )
    if after is not None:
        statement = statement.where(AIComment.id < after)
    rows = (await session.execute(statement)).all()
    shown = rows[:limit]
    short = await _short_ids(session, user_id, [comment.id for comment, _, _ in shown])
    lines = tuple(_line(comment, short[comment.id], process, login) for comment, process, login in shown)
    return CommentPage(lines, lines[-1].id if len(rows) > limit else None)


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    found = []
    if wanted.process_id is not None:
        found.append(AIComment.monitoring_process_id == wanted.process_id)
    if wanted.status is not None:
        found.append(AIComment.status == wanted.status)
    if wanted.approval is not None:
        found.append(
            AIComment.approval.is_(None) if wanted.approval == "none" else AIComment.approval == wanted.approval
        )
    return found


def _line(row: AIComment, short_id: str, process: str, login: str) -> CommentLine:
    return CommentLine(
        id=row.id,
        short_id=short_id,
        process=process,
        login=login,
        status=row.status,
        approval=row.approval,
        article_id=row.mymoment_article_id,
        article_title=row.article_title,
        error=row.error_message,
        created_at=row.created_at,
        posted_at=row.posted_at,
        next_attempt_at=row.next_attempt_at,
    )


def _digits() -> ColumnElement[str]:
    return func.replace(cast(AIComment.id, String), "-", "")


async def _short_ids(session: AsyncSession, user_id: UUID, ids: Sequence[UUID]) -> dict[UUID, str]:
    """The last eight digits where they name one comment of the user alone, else all of them."""
    if not ids:
        return {}
    ending = func.right(_digits(), SHORT_ID)
    endings = [id_.hex[-SHORT_ID:] for id_ in ids]
    statement = select(ending).where(AIComment.user_id == user_id, ending.in_(endings))
    times = Counter(await session.scalars(statement))
    return {id_: id_.hex[-SHORT_ID:] if times[id_.hex[-SHORT_ID:]] == 1 else id_.hex for id_ in ids}


async def resolve(session: AsyncSession, user_id: UUID, text: str) -> UUID:
    """The comment whose id begins or ends like this. Raise Invalid, or NotFound, naming the text."""
    digits = text.strip().lower().replace("-", "")
    if not SHORTEST_ID <= len(digits) <= ID_CHARS or not set(digits) <= set("0123456789abcdef"):
        raise Invalid(f"“{text}” is no comment id; give at least {SHORTEST_ID} of its first or last digits")
    mine = AIComment.user_id == user_id
    if len(digits) == ID_CHARS:
        same = AIComment.id == UUID(digits)
    else:
        same = or_(func.left(_digits(), len(digits)) == digits, func.right(_digits(), len(digits)) == digits)
    found = (await session.scalars(select(AIComment.id).where(mine, same).limit(2))).all()
    if not found:
        raise NotFound(f"There is no comment “{text}”; `pressroom comment list` shows what there is")
    if len(found) > 1:
        raise Invalid(f"“{text}” could be several comments; give more digits, best from the end of the id")
    return found[0]


async def show(session: AsyncSession, user_id: UUID, comment_id: UUID) -> CommentDetails:
    """Raise NotFound."""
    statement = (
        select(
            AIComment,
            MonitoringProcess.name,
            MyMomentLogin.name,
            PromptTemplate.name,
            LLMProviderConfiguration.name,
            work.held(AIComment),
        )
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .join(MyMomentLogin, MyMomentLogin.id == AIComment.mymoment_login_id)
        .join(PromptTemplate, PromptTemplate.id == AIComment.prompt_template_id)
        .outerjoin(LLMProviderConfiguration, LLMProviderConfiguration.id == AIComment.llm_provider_id)
        .where(AIComment.user_id == user_id, AIComment.id == comment_id)
    )
    found = (await session.execute(statement)).first()
    if found is None:
        raise NotFound(f"There is no comment {comment_id}")
    return CommentDetails(*found)


async def approve(session: AsyncSession, user_id: UUID, ids: Collection[UUID]) -> Decided:
    """Let these be posted. Approving twice changes nothing, unless a stop came between: then it is a new decision.

    Raise Conflict that names each one that is not `generated`; nothing is approved then.
    """
    fresh = or_(AIComment.approval.is_distinct_from("approved"), AIComment.approval_at <= MonitoringProcess.stopped_at)
    statement = (
        update(AIComment)
        .where(AIComment.id.in_(ids), AIComment.user_id == user_id, AIComment.status == "generated")
        .where(MonitoringProcess.id == AIComment.monitoring_process_id, fresh)
        .values(approval="approved", approval_by=user_id, approval_at=func.clock_timestamp())
    )
    changed = await _changed(session, statement)
    rest = await _rest(session, user_id, ids, changed)
    refused = [
        f"{row.short} is {row.status}" for row in rest if not (row.status == "generated" and row.approval == "approved")
    ]
    if refused:
        raise Conflict("Only a generated comment can be approved: " + ", ".join(refused))
    return Decided(tuple(changed), tuple(row.id for row in rest), _sent(changed))


async def reject(session: AsyncSession, user_id: UUID, ids: Collection[UUID]) -> Decided:
    """Keep these from being posted. Raise Conflict for one that is not `generated` or is being posted right now."""
    statement = (
        update(AIComment)
        .where(AIComment.id.in_(ids), AIComment.user_id == user_id, AIComment.status == "generated")
        .where(AIComment.approval.is_distinct_from("rejected"), work.unheld(AIComment))
        .values(approval="rejected", approval_by=user_id, approval_at=func.clock_timestamp())
    )
    changed = await _changed(session, statement)
    rest = await _rest(session, user_id, ids, changed)
    refused = [
        f"{row.short} is {'being posted right now' if row.status == 'generated' else row.status}"
        for row in rest
        if not (row.status == "generated" and row.approval == "rejected")
    ]
    if refused:
        raise Conflict("Only a generated comment can be rejected: " + ", ".join(refused))
    return Decided(tuple(changed), tuple(row.id for row in rest), _sent(changed))


async def retry(session: AsyncSession, user_id: UUID, ids: Collection[UUID]) -> Decided:
    """Put failed ones back to where they failed, with a clean record. Raise Conflict for one that has not failed."""
    changed = await _changed(session, _retrying(user_id).where(AIComment.id.in_(ids)))
    rest = await _rest(session, user_id, ids, changed)
    if rest:
        named = ", ".join(f"{row.short} is {row.status}" for row in rest)
        raise Conflict(f"Only a failed comment can be tried again: {named}")
    return Decided(tuple(changed), (), _sent(changed))


async def retry_all(session: AsyncSession, user_id: UUID, process_id: UUID) -> Decided:
    """The same for every failed comment of a process."""
    changed = await _changed(session, _retrying(user_id).where(AIComment.monitoring_process_id == process_id))
    return Decided(tuple(changed), (), _sent(changed))


def _retrying(user_id: UUID) -> Any:
    # `post_sent_at` stays: posting reads back first where it is set.
    by_content = case(
        (AIComment.comment_content.is_not(None), "generated"),
        (AIComment.article_content.is_not(None), "prepared"),
        else_="discovered",
    )
    return (
        update(AIComment)
        .where(AIComment.user_id == user_id, AIComment.status == "failed")
        .values(
            status=func.coalesce(AIComment.failed_from, by_content),
            failed_from=None,
            failed_at=None,
            error_message=None,
            attempts=0,
            retry_count=0,
            next_attempt_at=None,
            **work.FREE,
        )
    )


async def _changed(session: AsyncSession, statement: Any) -> dict[UUID, bool]:
    """The ids that the statement changed, and whether each was sent before."""
    rows = await session.execute(
        statement.returning(AIComment.id, AIComment.post_sent_at).execution_options(synchronize_session=False)
    )
    return {id_: sent_at is not None for id_, sent_at in rows}


def _sent(changed: dict[UUID, bool]) -> tuple[UUID, ...]:
    return tuple(id_ for id_, sent in changed.items() if sent)


@dataclass(frozen=True)
class _State:
    id: UUID
    status: str
    approval: str | None

    @property
    def short(self) -> str:
        return self.id.hex[-SHORT_ID:]


async def _rest(
    session: AsyncSession, user_id: UUID, ids: Collection[UUID], changed: Collection[UUID]
) -> Sequence[_State]:
    """The state of those that the statement left alone."""
    left = [id_ for id_ in ids if id_ not in changed]
    if not left:
        return ()
    statement = select(AIComment.id, AIComment.status, AIComment.approval).where(
        AIComment.id.in_(left), AIComment.user_id == user_id
    )
    return [_State(*row) for row in await session.execute(statement)]
