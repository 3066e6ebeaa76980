"""What people decide on comments: approved, rejected, edited, generated anew.

Each decision is one UPDATE that names the state it starts from, so that it cannot cross a worker's claim, nor another
person's decision: of two at once the second finds nothing to change, and is told what the first one did.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, and_, false, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from lib import work
from lib.errors import Conflict, NotFound, Stale
from lib.monitoring.models import AIComment, MonitoringProcess, User
from lib.monitoring.store import history
from lib.monitoring.store.scope import seen

Outcome = Literal["done", "already", "changed", "refused", "unknown"]
# The state that was seen, by comment; None decides whatever the state is.
Seen = Mapping[UUID, datetime | None]

UNDECIDED: dict[str, Any] = {"approval": None, "approval_by": None, "approval_at": None}
UNWRITTEN: dict[str, Any] = {
    "comment_content": None,
    "ai_model_name": None,
    "ai_provider_name": None,
    "generation_tokens": None,
    "generation_time_ms": None,
    "generated_at": None,
}


@dataclass(frozen=True)
class Ruling:
    """What a decision did to one comment.

    `already`: somebody (`by`) had decided so; `changed`: it is not as it was seen; `refused`: its state forbids it;
    `unknown`: there is none. `sent`: it went out to the site once before. `title`: its article's.
    """

    id: UUID
    outcome: Outcome
    status: str = ""
    approval: str | None = None
    by: str | None = None
    changed_at: datetime | None = None
    sent: bool = False
    in_work: bool = False
    title: str = ""


async def act_as(session: AsyncSession, user_id: UUID) -> None:
    """Until the end of the transaction, changes of comments are this person's in the comments' history."""
    name = select(User.name).where(User.id == user_id).scalar_subquery()
    await session.execute(select(func.set_config(history.ACTOR, "user " + name, True)))


async def approve(session: AsyncSession, sees: UUID | None, by: UUID, wanted: Seen) -> list[Ruling]:
    """Let these be posted. An approval that a stop came after is given anew."""
    fresh = or_(AIComment.approval.is_distinct_from("approved"), AIComment.approval_at <= MonitoringProcess.held_at)
    statement = (
        update(AIComment)
        .where(_as_seen(wanted), seen(AIComment.user_id, sees), AIComment.status == "generated")
        .where(MonitoringProcess.id == AIComment.monitoring_process_id, fresh)
        .values(approval="approved", approval_by=by, approval_at=func.clock_timestamp())
    )
    return await _rulings(session, sees, wanted, await _decided(session, statement), "approved")


async def reject(session: AsyncSession, sees: UUID | None, by: UUID, wanted: Seen) -> list[Ruling]:
    """Keep these from being posted; not one that is being posted right now."""
    statement = (
        update(AIComment)
        .where(_as_seen(wanted), seen(AIComment.user_id, sees), AIComment.status == "generated")
        .where(AIComment.approval.is_distinct_from("rejected"), work.unheld(AIComment))
        .values(approval="rejected", approval_by=by, approval_at=func.clock_timestamp())
    )
    return await _rulings(session, sees, wanted, await _decided(session, statement), "rejected")


def _as_seen(wanted: Seen) -> ColumnElement[bool]:
    """These comments, each still in the state that was seen."""
    pairs = [(id_, moment) for id_, moment in wanted.items() if moment is not None]
    free = [id_ for id_, moment in wanted.items() if moment is None]
    return or_(AIComment.id.in_(free), tuple_(AIComment.id, AIComment.updated_at).in_(pairs))


async def _decided(session: AsyncSession, statement: Any) -> set[UUID]:
    returning = statement.returning(AIComment.id).execution_options(synchronize_session=False)
    return set(await session.scalars(returning))


async def _rulings(
    session: AsyncSession, sees: UUID | None, wanted: Collection[UUID], done: set[UUID], decision: str
) -> list[Ruling]:
    """One for each comment, in the order given."""
    statement = (
        select(
            AIComment.id,
            AIComment.status,
            AIComment.approval,
            User.name,
            AIComment.updated_at,
            AIComment.post_sent_at.is_not(None),
            work.held(AIComment),
            func.coalesce(AIComment.approval_at <= MonitoringProcess.held_at, false()),
            AIComment.article_title,
        )
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .outerjoin(User, User.id == AIComment.approval_by)
        .where(AIComment.id.in_(wanted), seen(AIComment.user_id, sees))
    )
    found = {row.id: row for row in await session.execute(statement)}
    rulings = []
    for id_ in wanted:
        if id_ not in found:
            rulings.append(Ruling(id_, "unknown"))
            continue
        _, status, approval, by, changed_at, sent, held, before_stop, title = found[id_]
        same = approval == decision and not (before_stop and decision == "approved")
        outcome = "done" if id_ in done else _left(status, same=same, held=held)
        rulings.append(Ruling(id_, outcome, status, approval, by, changed_at, sent, held, title))
    return rulings


def _left(status: str, *, same: bool, held: bool) -> Outcome:
    """Why a comment was left alone."""
    if status != "generated":
        return "refused"
    if same:
        return "already"
    return "refused" if held else "changed"


async def edit(session: AsyncSession, sees: UUID | None, comment_id: UUID, moment: datetime, text: str) -> None:
    """Give a generated comment another text; whoever approved it approved the old one, so that is taken back.

    Raise NotFound, or Conflict when it is not as it was seen, or was sent: only its text tells whether it arrived.
    """
    await _change(
        session,
        sees,
        comment_id,
        moment,
        and_(AIComment.status == "generated", AIComment.post_sent_at.is_(None)),
        "Only a generated comment that was never sent can be edited",
        {"comment_content": text, **UNDECIDED},
    )


async def regenerate(
    session: AsyncSession,
    sees: UUID | None,
    comment_id: UUID,
    moment: datetime | None,
    template_id: UUID | None,
    note: str | None,
) -> None:
    """Back to `prepared`, for another answer. Raise NotFound or Conflict."""
    at_generation = or_(
        AIComment.status == "generated", and_(AIComment.status == "failed", AIComment.failed_from == "prepared")
    )
    values = {
        **UNDECIDED,
        **UNWRITTEN,
        **work.FREE,
        "status": "prepared",
        "llm_provider_id": None,
        "generation_note": note,
        "failed_from": None,
        "failed_at": None,
        "error_message": None,
        "attempts": 0,
        "retry_count": 0,
        "next_attempt_at": None,
    }
    if template_id is not None:
        if await _another_has(session, sees, comment_id, template_id):
            raise Conflict(
                "There is a comment on this article with that login and template already; choose another template"
            )
        values["prompt_template_id"] = template_id
    await _change(
        session,
        sees,
        comment_id,
        moment,
        and_(at_generation, AIComment.post_sent_at.is_(None), AIComment.article_content.is_not(None)),
        "Only a comment that was generated, or failed at that, and was never sent can be generated anew",
        values,
    )


async def _another_has(session: AsyncSession, sees: UUID | None, comment_id: UUID, template_id: UUID) -> bool:
    """Whether its login has another comment with this template on the same article."""
    other = aliased(AIComment)
    statement = (
        select(other.id)
        .join(AIComment, other.mymoment_article_id == AIComment.mymoment_article_id)
        .where(AIComment.id == comment_id, seen(AIComment.user_id, sees))
        .where(other.mymoment_login_id == AIComment.mymoment_login_id)
        .where(other.id != comment_id, other.prompt_template_id == template_id)
        .limit(1)
    )
    return (await session.scalars(statement)).first() is not None


async def _change(
    session: AsyncSession,
    sees: UUID | None,
    comment_id: UUID,
    moment: datetime | None,
    possible: ColumnElement[bool],
    rule: str,
    values: dict[str, Any],
) -> None:
    statement = (
        update(AIComment)
        .where(_as_seen({comment_id: moment}), seen(AIComment.user_id, sees), work.unheld(AIComment), possible)
        .values(values)
    )
    if await _decided(session, statement):
        return
    [ruling] = await _rulings(session, sees, [comment_id], set(), "")
    if ruling.outcome == "unknown":
        raise NotFound(f"There is no comment {comment_id}")
    if ruling.in_work:
        raise Conflict("A worker holds the comment right now; try again in a moment")
    if moment is not None and ruling.changed_at != moment:
        raise Stale(f"The comment changed since you looked: it is {_state(ruling)} now; read it again")
    raise Conflict(f"{rule}; this one is {_state(ruling)}")


def _state(ruling: Ruling) -> str:
    words = [ruling.status]
    if ruling.approval:
        words.append(f"{ruling.approval} by {ruling.by or 'somebody'}")
    if ruling.sent:
        words.append("sent once")
    return ", ".join(words)
