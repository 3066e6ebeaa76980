"""What the stages take: one statement or a few that lock, claim, and return a frozen snapshot.

Statements that run for every item are built once: building costs SQLAlchemy more time than running costs PostgreSQL.
"""

from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Boolean, Integer, Row, Select, Table, and_, bindparam, case, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate

from lib import work
from lib.database import Executor
from lib.monitoring.items import ArticleToPrepare, Claimed, CommentToGenerate, CommentToPost, Wait
from lib.monitoring.models import AIComment, LLMProviderConfiguration, MonitoringProcess, MyMomentLogin
from lib.monitoring.records import ComparisonAnswer
from lib.monitoring.store.comments import waiting

_COMMENTS = cast("Table", AIComment.__table__)


async def claim_article(executor: Executor, process_id: UUID, token: UUID, lease: float) -> ArticleToPrepare | None:
    """Claim every comment that waits for one article page of one login, whichever running process it is of.

    The first of them in this process stands for the page, so that two claimants never take the same page.
    """
    parameters = {"the_process": process_id} | work.claim_parameters(token, lease)
    taken = (await executor.execute(_take_page(), parameters)).all()
    if not taken:
        return None
    first = taken[0]
    return ArticleToPrepare(
        tuple(Claimed(row.id, row.process_id, token, row.attempts, row.retry_count) for row in taken),
        first.mymoment_login_id,
        first.mymoment_article_id,
        first.article_title,
    )


def _first_of_a_page() -> Select[tuple[UUID, str]]:
    other = aliased(AIComment)
    earlier = exists().where(
        other.monitoring_process_id == work.id_parameter("the_process"),
        other.mymoment_login_id == AIComment.mymoment_login_id,
        other.mymoment_article_id == AIComment.mymoment_article_id,
        other.status == "discovered",
        work.due(other),
        other.id < AIComment.id,
    )
    return (
        select(AIComment.mymoment_login_id, AIComment.mymoment_article_id)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == work.id_parameter("the_process"), waiting("preparation"), ~earlier)
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
    )


@cache
def _take_page() -> ReturningUpdate[tuple[UUID, UUID, int, int, UUID, str, str]]:
    first = _first_of_a_page().cte("first")
    same_page = (
        select(AIComment.id)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .join(
            first,
            and_(
                AIComment.mymoment_login_id == first.c.mymoment_login_id,
                AIComment.mymoment_article_id == first.c.mymoment_article_id,
            ),
        )
        .where(waiting("preparation"))
        .with_for_update(of=AIComment, skip_locked=True)
    )
    return (
        update(AIComment)
        .where(AIComment.id.in_(same_page.cte("picked").select()))
        .values(work.claiming(AIComment))
        .returning(
            AIComment.id,
            AIComment.monitoring_process_id.label("process_id"),
            AIComment.attempts,
            AIComment.retry_count,
            AIComment.mymoment_login_id,
            AIComment.mymoment_article_id,
            AIComment.article_title,
        )
    )


async def claim_generation(
    session: AsyncSession, process_id: UUID, provider_id: UUID, limit: int, token: UUID, lease: float
) -> CommentToGenerate | Wait | None:
    """Claim one comment to generate, unless `limit` of the provider's are in work already, in any worker."""
    connection = await session.connection()
    await connection.execute(_lock_provider(), {"the_provider": provider_id})
    parameters = {"the_process": process_id, "the_provider": provider_id, "the_limit": limit}
    row = (await connection.execute(_take_to_generate(), parameters | work.claim_parameters(token, lease))).first()
    if row is None:
        return None
    if row.id is None:
        return Wait(0.2)
    return CommentToGenerate(
        claim=_claim(row, token),
        login_id=row.mymoment_login_id,
        provider_id=provider_id,
        template_id=row.prompt_template_id,
        title=row.article_title,
        author=row.article_author,
        category=row.article_category,
        url=row.article_url,
        published_at=row.article_published_at,
        content=row.article_content or "",
        raw_html=row.article_raw_html or "",
        note=row.generation_note,
    )


def _claim(row: Row[Any], token: UUID) -> Claimed:
    return Claimed(row.id, row.monitoring_process_id, token, row.attempts, row.retry_count)


@cache
def _lock_provider() -> Select[tuple[UUID]]:
    provider = LLMProviderConfiguration
    # Not FOR UPDATE: an insert of a comment, which refers to the provider, would wait for it.
    return select(provider.id).where(provider.id == work.id_parameter("the_provider")).with_for_update(key_share=True)


@cache
def _take_to_generate() -> Select[Any]:
    """No row when nothing waits, a row without a comment when the provider has enough in work."""
    in_work = select(func.count()).where(
        AIComment.llm_provider_id == work.id_parameter("the_provider"),
        AIComment.status == "prepared",
        work.held(AIComment),
    )
    comparing = select(func.count()).where(
        ComparisonAnswer.provider_id == work.id_parameter("the_provider"), work.held(ComparisonAnswer)
    )
    first = (
        select(AIComment.id, (in_work.scalar_subquery() + comparing.scalar_subquery()).label("in_work"))
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == work.id_parameter("the_process"), waiting("generation"))
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
        .cte("first")
    )
    may = select(first.c.id).where(first.c.in_work < bindparam("the_limit", type_=Integer()))
    taken = (
        update(_COMMENTS)
        .where(_COMMENTS.c.id.in_(may))
        .values(work.claiming(AIComment) | {AIComment.llm_provider_id: work.id_parameter("the_provider")})
        .returning(_COMMENTS)
        .cte("taken")
    )
    return select(taken).select_from(first.outerjoin(taken, taken.c.id == first.c.id))


async def claim_post(
    session: AsyncSession, process_id: UUID, login_id: UUID, token: UUID, lease: float
) -> CommentToPost | Wait | None:
    """Claim one comment to post, and with it the login: one post at a time and `next_post_at` kept, in any worker.

    The process row is locked against a stop: either the stop sees this claim, or this claim sees the stop.
    Locks are taken in the order process, login, comment, and none that an insert of a comment would wait for.
    """
    connection = await session.connection()
    await connection.execute(_lock_process(), {"the_process": process_id})
    wait, is_active = (await connection.execute(_lock_login(), {"the_login": login_id})).one()
    if not is_active:
        return None
    parameters = {"the_process": process_id, "the_login": login_id, "is_free": wait <= 0}
    row = (await connection.execute(_take_to_post(), parameters | work.claim_parameters(token, lease))).first()
    if row is None:
        return None
    if row.id is None:
        return Wait(float(wait))
    return CommentToPost(
        claim=_claim(row, token),
        login_id=login_id,
        article_id=row.mymoment_article_id,
        title=row.article_title,
        text=row.comment_content or "",
        hidden=row.hide_comments,
        sent=row.post_sent_at is not None,
        known_ids=frozenset(row.known_ids or ()),
    )


@cache
def _lock_process() -> Select[tuple[UUID]]:
    process = MonitoringProcess
    return select(process.id).where(process.id == work.id_parameter("the_process")).with_for_update(read=True)


@cache
def _lock_login() -> Select[tuple[Any, bool]]:
    """Seconds until the login may post: its pause, or a moment while another post of it is in work. And if it may."""
    login = MyMomentLogin
    pause = func.greatest(func.extract("epoch", login.next_post_at - func.now()), 0)
    free = or_(login.posting_token.is_(None), login.posting_lease_expires_at < func.now())
    return (
        select(case((free, func.coalesce(pause, 0)), else_=0.5), login.is_active)
        .where(login.id == work.id_parameter("the_login"))
        # Not FOR UPDATE: discovery's new comments refer to the login before it locks its process.
        .with_for_update(key_share=True)
    )


@cache
def _take_to_post() -> Select[Any]:
    """No row when nothing waits, a row without a comment when the login is not free.

    With the comment goes the login, and the site's comment ids that other records of the login have on the article.
    """
    other = aliased(AIComment)
    known = (
        select(func.array_agg(other.mymoment_comment_id))
        .where(
            other.mymoment_login_id == AIComment.mymoment_login_id,
            other.mymoment_article_id == AIComment.mymoment_article_id,
            other.mymoment_comment_id.is_not(None),
        )
        .scalar_subquery()
    )
    first = (
        select(AIComment.id, MonitoringProcess.hide_comments, known.label("known_ids"))
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == work.id_parameter("the_process"))
        .where(AIComment.mymoment_login_id == work.id_parameter("the_login"), waiting("posting"))
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
        .cte("first")
    )
    may = select(first.c.id).where(bindparam("is_free", type_=Boolean()))
    taken = (
        update(_COMMENTS)
        .where(_COMMENTS.c.id.in_(may))
        .values(work.claiming(AIComment))
        .returning(_COMMENTS)
        .cte("taken")
    )
    login = (
        update(MyMomentLogin)
        .where(MyMomentLogin.id == taken.c.mymoment_login_id)
        .values(posting_token=work.id_parameter("the_token"), posting_lease_expires_at=work.lease_end())
        .returning(MyMomentLogin.id)
        .cte("login")
    )
    return (
        select(taken, first.c.hide_comments, first.c.known_ids)
        .select_from(first.outerjoin(taken, taken.c.id == first.c.id))
        .add_cte(login)
    )
