"""Comments that are to be tried again, whatever named them: which of them can be, and doing it."""

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, Select, Uuid, and_, any_, bindparam, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from lib import work
from lib.monitoring.models import AIComment
from lib.monitoring.store.review import Decided, changed_by, retrying, sent_of
from lib.monitoring.store.scope import seen


@dataclass(frozen=True)
class Possible:
    """Of some comments, those that can be tried again.

    `failed`: put back to where they failed; `sent`: those of them that went out once, so that posting reads back first;
    `waiting`: after an error, and tried at once instead of later.
    """

    failed: frozenset[UUID]
    sent: frozenset[UUID]
    waiting: frozenset[UUID]

    @property
    def all(self) -> frozenset[UUID]:
        return self.failed | self.waiting


def _of(ids: Collection[UUID]) -> ColumnElement[bool]:
    """One parameter for any number of them."""
    return AIComment.id == any_(bindparam("comments", list(ids), ARRAY(Uuid), unique=True))


def _waits() -> ColumnElement[bool]:
    """After an error, and not sent: what was sent keeps its time, so that it can arrive before it is looked for."""
    return and_(
        AIComment.error_message.is_not(None),
        AIComment.status.not_in(("failed", "posted")),
        AIComment.post_sent_at.is_(None),
        AIComment.next_attempt_at > func.now(),
        work.unheld(AIComment),
    )


def _over_the_same_page(ids: Collection[UUID]) -> Select[tuple[UUID]]:
    """An article's page is fetched once for all comments that wait for it, and they fail together."""
    other = aliased(AIComment)
    return (
        select(other.id)
        .join(
            AIComment,
            and_(
                AIComment.mymoment_article_id == other.mymoment_article_id,
                AIComment.mymoment_login_id == other.mymoment_login_id,
            ),
        )
        .where(_of(ids))
        .where(*(each.status == "failed" for each in (AIComment, other)))
        .where(*(each.failed_from == "discovered" for each in (AIComment, other)))
    )


async def possible(session: AsyncSession, sees: UUID | None, ids: Collection[UUID]) -> Possible:
    """Ids that name no comment are left out; whoever failed with one of them over the same page comes with it."""
    if not ids:
        return Possible(frozenset(), frozenset(), frozenset())
    ids = {*ids, *await session.scalars(_over_the_same_page(ids))}
    is_failed = AIComment.status == "failed"
    statement = (
        select(AIComment.id, is_failed, AIComment.post_sent_at.is_not(None))
        .where(seen(AIComment.user_id, sees), _of(ids))
        .where(is_failed | _waits())
    )
    rows = [(id_, failed, sent) for id_, failed, sent in await session.execute(statement)]
    return Possible(
        frozenset(id_ for id_, failed, _ in rows if failed),
        frozenset(id_ for id_, failed, sent in rows if failed and sent),
        frozenset(id_ for id_, failed, _ in rows if not failed),
    )


async def again(session: AsyncSession, sees: UUID | None, which: Possible) -> Decided:
    """Put the failed ones back and wake those that wait; what changed meanwhile is left alone."""
    failed = await changed_by(session, retrying(sees).where(_of(which.failed))) if which.failed else {}
    woken: dict[UUID, bool] = {}
    if which.waiting:
        waking = update(AIComment).where(seen(AIComment.user_id, sees), _of(which.waiting), _waits())
        woken = await changed_by(session, waking.values(next_attempt_at=None))
    return Decided((*failed, *woken), (), sent_of(failed))


async def known(session: AsyncSession, sees: UUID | None, ids: Collection[UUID]) -> frozenset[UUID]:
    """Those of the ids that are comments which are seen."""
    if not ids:
        return frozenset()
    return frozenset(await session.scalars(select(AIComment.id).where(seen(AIComment.user_id, sees), _of(ids))))
