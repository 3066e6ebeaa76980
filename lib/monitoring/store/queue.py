"""Generated comments in the order in which people read them, with all that a decision needs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased, defer

from lib import work
from lib.errors import NotFound
from lib.monitoring.models import AIComment, MonitoringProcess, MyMomentLogin, ProcessStage, PromptTemplate, User
from lib.monitoring.store.choosing import ApprovalFilter, Wanted, approved, chosen
from lib.monitoring.store.comments import is_running
from lib.monitoring.store.scope import seen


@dataclass(frozen=True)
class Filter:
    """Which generated comments; None is any. An approval of `none` finds what nobody has decided on."""

    process_id: UUID | None = None
    approval: ApprovalFilter | None = "none"

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.process_id, "generated", self.approval)


@dataclass(frozen=True)
class Entry:
    """A comment with what it would be posted with. `running`: its process runs and its time is not over.

    `next_due_at`: when posting of the process may run next. `held_by_stop`: its approval was before the last stop.
    """

    row: AIComment
    process: MonitoringProcess
    login: MyMomentLogin
    template: PromptTemplate
    owner: str
    decided_by: str | None
    next_due_at: datetime | None
    running: bool
    held_by_stop: bool
    in_work: bool


def _entries() -> Select[Any]:
    owner, decider = aliased(User), aliased(User)
    return (
        select(
            AIComment,
            MonitoringProcess,
            MyMomentLogin,
            PromptTemplate,
            owner.name,
            decider.name,
            ProcessStage.next_due_at,
            is_running(),
            func.coalesce(AIComment.approval_at <= MonitoringProcess.held_at, False),
            work.held(AIComment),
        )
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .join(MyMomentLogin, MyMomentLogin.id == AIComment.mymoment_login_id)
        .join(PromptTemplate, PromptTemplate.id == AIComment.prompt_template_id)
        .join(owner, owner.id == AIComment.user_id)
        .outerjoin(decider, decider.id == AIComment.approval_by)
        .outerjoin(
            ProcessStage,
            and_(ProcessStage.monitoring_process_id == MonitoringProcess.id, ProcessStage.stage == "posting"),
        )
        .options(defer(AIComment.article_raw_html))
    )


def _entry(found: Row[Any]) -> Entry:
    return Entry(*found)


async def page(
    session: AsyncSession, sees: UUID | None, wanted: Filter, limit: int, after: UUID | None
) -> tuple[list[Entry], UUID | None]:
    """The oldest first, from behind `after` on; and what to ask for to see the following ones."""
    ids = chosen(sees, wanted.wanted, limit + 1, newest_first=False, beyond=after)
    statement = _entries().where(AIComment.id.in_(ids)).order_by(AIComment.id)
    found = [_entry(row) for row in await session.execute(statement)]
    return found[:limit], found[limit - 1].row.id if len(found) > limit else None


async def one(session: AsyncSession, sees: UUID | None, comment_id: UUID) -> Entry:
    """A comment in any status. Raise NotFound."""
    statement = _entries().where(AIComment.id == comment_id, seen(AIComment.user_id, sees))
    found = (await session.execute(statement)).first()
    if found is None:
        raise NotFound(f"There is no comment {comment_id}")
    return _entry(found)


@dataclass(frozen=True)
class Place:
    """Where a comment stands in the queue: its neighbours, how many are before it, and how many there are."""

    previous: UUID | None
    next: UUID | None
    before: int
    total: int


async def place(session: AsyncSession, sees: UUID | None, wanted: Filter, comment_id: UUID) -> Place:
    """Of a comment that need not be in the queue any more."""
    of_all = _number(sees, wanted)
    statement = select(
        chosen(sees, wanted.wanted, 1, beyond=comment_id).scalar_subquery(),
        chosen(sees, wanted.wanted, 1, newest_first=False, beyond=comment_id).scalar_subquery(),
        of_all.where(AIComment.id < comment_id).scalar_subquery(),
        of_all.scalar_subquery(),
    )
    return Place(*(await session.execute(statement)).one())


async def total(session: AsyncSession, sees: UUID | None, wanted: Filter) -> int:
    return (await session.execute(_number(sees, wanted))).scalar_one()


def _number(sees: UUID | None, wanted: Filter) -> Select[tuple[int]]:
    statement = select(func.count()).select_from(AIComment).where(AIComment.status == "generated")
    if sees is not None:
        mine = select(MonitoringProcess.id).where(MonitoringProcess.user_id == sees)
        statement = statement.where(AIComment.monitoring_process_id.in_(mine))
    if wanted.process_id is not None:
        statement = statement.where(AIComment.monitoring_process_id == wanted.process_id)
    return statement if wanted.approval is None else statement.where(approved(wanted.approval))
