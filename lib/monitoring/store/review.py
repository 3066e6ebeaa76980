"""Comments as people see them: found, shown, approved, rejected, tried again.

Each decision is one UPDATE that names the state it starts from, so that it cannot cross a worker's claim.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, String, case, cast, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from lib import work
from lib.errors import Conflict, Invalid, NotFound
from lib.monitoring.models import (
    AIComment,
    LLMProviderConfiguration,
    MonitoringProcess,
    MyMomentLogin,
    PromptTemplate,
)
from lib.monitoring.store import decisions
from lib.monitoring.store.choosing import Wanted, chosen
from lib.monitoring.store.decisions import Ruling
from lib.monitoring.store.scope import seen

ID_CHARS = 32
SHORTEST_ID = 6
SHORT_ID = 8


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


async def listed(
    session: AsyncSession, sees: UUID | None, wanted: Wanted, limit: int, after: UUID | None, *, short_ids: bool = True
) -> CommentPage:
    """Newest first, from behind `after` on. Without `short_ids` the whole id stands for the short one."""
    statement = (
        select(AIComment, MonitoringProcess.name, MyMomentLogin.name)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .join(MyMomentLogin, MyMomentLogin.id == AIComment.mymoment_login_id)
        .where(AIComment.id.in_(chosen(sees, wanted, limit + 1, beyond=after)))
        .order_by(AIComment.id.desc())
        .options(defer(AIComment.article_content), defer(AIComment.article_raw_html))
    )
    rows = (await session.execute(statement)).all()
    shown = rows[:limit]
    ids = [comment.id for comment, _, _ in shown]
    short = await _short_ids(session, sees, ids) if short_ids else {id_: id_.hex for id_ in ids}
    lines = tuple(_line(comment, short[comment.id], process, login) for comment, process, login in shown)
    return CommentPage(lines, lines[-1].id if len(rows) > limit else None)


async def newest(session: AsyncSession, sees: UUID | None, process_id: UUID, limit: int) -> list[dict[str, Any]]:
    """The last comments of a process, in short."""
    columns = (
        AIComment.id,
        AIComment.status,
        AIComment.approval,
        AIComment.article_title,
        AIComment.article_url,
        AIComment.error_message.label("error"),
        AIComment.created_at,
        AIComment.posted_at,
        AIComment.next_attempt_at,
    )
    statement = (
        select(*columns, MyMomentLogin.name.label("login"), PromptTemplate.name.label("template"))
        .join(MyMomentLogin, MyMomentLogin.id == AIComment.mymoment_login_id)
        .join(PromptTemplate, PromptTemplate.id == AIComment.prompt_template_id)
        .where(AIComment.id.in_(chosen(sees, Wanted(process_id), limit)))
        .order_by(AIComment.id.desc())
    )
    return [dict(row) for row in (await session.execute(statement)).mappings()]


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


async def _short_ids(session: AsyncSession, sees: UUID | None, ids: Sequence[UUID]) -> dict[UUID, str]:
    """The last eight digits where they name one comment of the user alone, else all of them."""
    if not ids:
        return {}
    ending = func.right(_digits(), SHORT_ID)
    endings = [id_.hex[-SHORT_ID:] for id_ in ids]
    statement = select(ending).where(seen(AIComment.user_id, sees), ending.in_(endings))
    times = Counter(await session.scalars(statement))
    return {id_: id_.hex[-SHORT_ID:] if times[id_.hex[-SHORT_ID:]] == 1 else id_.hex for id_ in ids}


async def resolve(session: AsyncSession, sees: UUID | None, text: str) -> UUID:
    """The comment whose id begins or ends like this. Raise Invalid, or NotFound, naming the text."""
    digits = text.strip().lower().replace("-", "")
    if not SHORTEST_ID <= len(digits) <= ID_CHARS or not set(digits) <= set("0123456789abcdef"):
        raise Invalid(f"“{text}” is no comment id; give at least {SHORTEST_ID} of its first or last digits")
    mine = seen(AIComment.user_id, sees)
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


async def show(session: AsyncSession, sees: UUID | None, comment_id: UUID) -> CommentDetails:
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
        .where(seen(AIComment.user_id, sees), AIComment.id == comment_id)
    )
    found = (await session.execute(statement)).first()
    if found is None:
        raise NotFound(f"There is no comment {comment_id}")
    return CommentDetails(*found)


async def approve(session: AsyncSession, sees: UUID | None, ids: Collection[UUID], by: UUID | None = None) -> Decided:
    """Let these be posted. Approving twice changes nothing, unless a stop came between: then it is a new decision.

    `by`: who decides, if not their owner. Raise Conflict that names each one that is not `generated`; nothing is
    approved then.
    """
    rulings = await decisions.approve(session, sees, _decider(sees, by), dict.fromkeys(ids))
    return _all_of(rulings, "approved")


async def reject(session: AsyncSession, sees: UUID | None, ids: Collection[UUID], by: UUID | None = None) -> Decided:
    """Keep these from being posted. Raise Conflict for one that is not `generated` or is being posted right now."""
    rulings = await decisions.reject(session, sees, _decider(sees, by), dict.fromkeys(ids))
    return _all_of(rulings, "rejected")


def _decider(sees: UUID | None, by: UUID | None) -> UUID:
    who = by or sees
    if who is None:
        raise Invalid("Nobody is named who decides")
    return who


def _all_of(rulings: Sequence[Ruling], decision: str) -> Decided:
    """Raise Conflict unless all of them are decided so now."""
    refused = [
        f"{ruling.id.hex[-SHORT_ID:]} is "
        f"{'being posted right now' if ruling.status == 'generated' else ruling.status or 'not there'}"
        for ruling in rulings
        if ruling.outcome not in ("done", "already")
    ]
    if refused:
        raise Conflict(f"Only a generated comment can be {decision}: " + ", ".join(refused))
    done = [ruling for ruling in rulings if ruling.outcome == "done"]
    return Decided(
        tuple(ruling.id for ruling in done),
        tuple(ruling.id for ruling in rulings if ruling.outcome == "already"),
        tuple(ruling.id for ruling in done if ruling.sent),
    )


async def retry(session: AsyncSession, sees: UUID | None, ids: Collection[UUID]) -> Decided:
    """Put failed ones back to where they failed, with a clean record. Raise Conflict for one that has not failed."""
    changed = await changed_by(session, retrying(sees).where(AIComment.id.in_(ids)))
    rest = await _rest(session, sees, ids, changed)
    if rest:
        named = ", ".join(f"{row.short} is {row.status}" for row in rest)
        raise Conflict(f"Only a failed comment can be tried again: {named}")
    return Decided(tuple(changed), (), sent_of(changed))


async def retry_all(session: AsyncSession, sees: UUID | None, process_id: UUID) -> Decided:
    """The same for every failed comment of a process."""
    changed = await changed_by(session, retrying(sees).where(AIComment.monitoring_process_id == process_id))
    return Decided(tuple(changed), (), sent_of(changed))


def retrying(sees: UUID | None) -> Any:
    """The UPDATE that puts failed comments back; the caller says which."""
    # `post_sent_at` stays: posting reads back first where it is set, and not before `next_attempt_at`.
    by_content = case(
        (AIComment.comment_content.is_not(None), "generated"),
        (AIComment.article_content.is_not(None), "prepared"),
        else_="discovered",
    )
    status = func.coalesce(AIComment.failed_from, by_content)
    return (
        update(AIComment)
        .where(seen(AIComment.user_id, sees), AIComment.status == "failed")
        .values(
            status=status,
            llm_provider_id=case((status == "generated", AIComment.llm_provider_id)),
            failed_from=None,
            failed_at=None,
            error_message=None,
            attempts=0,
            retry_count=0,
            next_attempt_at=case((AIComment.post_sent_at.is_not(None), AIComment.next_attempt_at)),
            **work.FREE,
        )
    )


async def changed_by(session: AsyncSession, statement: Any) -> dict[UUID, bool]:
    """The ids that the statement changed, and whether each was sent before."""
    rows = await session.execute(
        statement.returning(AIComment.id, AIComment.post_sent_at).execution_options(synchronize_session=False)
    )
    return {id_: sent_at is not None for id_, sent_at in rows}


def sent_of(changed: dict[UUID, bool]) -> tuple[UUID, ...]:
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
    session: AsyncSession, sees: UUID | None, ids: Collection[UUID], changed: Collection[UUID]
) -> Sequence[_State]:
    """The state of those that the statement left alone."""
    left = [id_ for id_ in ids if id_ not in changed]
    if not left:
        return ()
    statement = select(AIComment.id, AIComment.status, AIComment.approval).where(
        AIComment.id.in_(left), seen(AIComment.user_id, sees)
    )
    return [_State(*row) for row in await session.execute(statement)]
