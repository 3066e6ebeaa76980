"""What the stages take: one statement or a few that lock, claim, and return a frozen snapshot.

Statements that run for every item are built once: building costs SQLAlchemy more time than running costs PostgreSQL.
"""

from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, case, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased
from sqlalchemy.sql.dml import ReturningUpdate

from lib import work
from lib.monitoring.items import ArticleToPrepare, Claimed, CommentToGenerate, CommentToPost, Wait
from lib.monitoring.models import AIComment, LLMProviderConfiguration, MonitoringProcess, MyMomentLogin
from lib.monitoring.store.comments import waiting


async def claim_article(session: AsyncSession, process_id: UUID, token: UUID, lease: float) -> ArticleToPrepare | None:
    """Claim every comment that waits for one article page of one login, whichever running process it is of.

    The first of them in this process stands for the page, so that two claimants never take the same page.
    """
    found = (await session.execute(_first_of_a_page(), {"the_process": process_id})).first()
    if found is None:
        return None
    page = {"the_login": found.mymoment_login_id, "the_article": found.mymoment_article_id}
    taken = await session.execute(_take_page(), page | work.claim_parameters(token, lease))
    return ArticleToPrepare(
        tuple(Claimed(id_, process, token, attempts, failures) for id_, process, attempts, failures in taken),
        found.mymoment_login_id,
        found.mymoment_article_id,
        found.article_title,
    )


@cache
def _first_of_a_page() -> Select[tuple[UUID, str, str]]:
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
        select(AIComment.mymoment_login_id, AIComment.mymoment_article_id, AIComment.article_title)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == work.id_parameter("the_process"), waiting("preparation"), ~earlier)
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
    )


@cache
def _take_page() -> ReturningUpdate[tuple[UUID, UUID, int, int]]:
    same_page = (
        select(AIComment.id)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(
            AIComment.mymoment_login_id == work.id_parameter("the_login"),
            AIComment.mymoment_article_id == bindparam("the_article"),
            waiting("preparation"),
        )
        .with_for_update(of=AIComment, skip_locked=True)
    )
    return (
        update(AIComment)
        .where(AIComment.id.in_(same_page.cte("picked").select()))
        .values(work.claiming(AIComment))
        .returning(AIComment.id, AIComment.monitoring_process_id, AIComment.attempts, AIComment.retry_count)
        .execution_options(synchronize_session=False)
    )


@cache
def _take_one() -> ReturningUpdate[tuple[AIComment]]:
    return (
        update(AIComment)
        .where(AIComment.id == work.id_parameter("the_comment"))
        .values(work.claiming(AIComment))
        .returning(AIComment)
        .execution_options(synchronize_session=False)
    )


async def _take(session: AsyncSession, comment_id: UUID, token: UUID, lease: float) -> tuple[AIComment, Claimed]:
    """Claim a comment whose row we have locked."""
    parameters = {"the_comment": comment_id} | work.claim_parameters(token, lease)
    row = (await session.scalars(_take_one(), parameters)).one()
    return row, Claimed(row.id, row.monitoring_process_id, token, row.attempts, row.retry_count)


async def claim_generation(
    session: AsyncSession, process_id: UUID, provider_id: UUID, limit: int, token: UUID, lease: float
) -> CommentToGenerate | Wait | None:
    """Claim one comment to generate, unless `limit` of the provider's are in work already, in any worker."""
    both = {"the_process": process_id, "the_provider": provider_id}
    await session.execute(_lock_provider(), {"the_provider": provider_id})
    found = (await session.execute(_first_to_generate(), both)).first()
    if found is None:
        return None
    if found.in_work >= limit:
        return Wait(0.2)
    row, claim = await _take(session, found.id, token, lease)
    if row.llm_provider_id != provider_id:
        await session.execute(update(AIComment).where(AIComment.id == row.id).values(llm_provider_id=provider_id))
    return CommentToGenerate(
        claim=claim,
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
    )


@cache
def _lock_provider() -> Select[tuple[UUID]]:
    provider = LLMProviderConfiguration
    # Not FOR UPDATE: an insert of a comment, which refers to the provider, would wait for it.
    return select(provider.id).where(provider.id == work.id_parameter("the_provider")).with_for_update(key_share=True)


@cache
def _first_to_generate() -> Select[tuple[UUID, int]]:
    in_work = select(func.count()).where(
        AIComment.llm_provider_id == work.id_parameter("the_provider"),
        AIComment.status == "prepared",
        work.held(AIComment),
    )
    return (
        select(AIComment.id, in_work.scalar_subquery().label("in_work"))
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == work.id_parameter("the_process"), waiting("generation"))
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
    )


async def claim_post(
    session: AsyncSession, process_id: UUID, login_id: UUID, token: UUID, lease: float
) -> CommentToPost | Wait | None:
    """Claim one comment to post, and with it the login: one post at a time and `next_post_at` kept, in any worker.

    The process row is locked against a stop: either the stop sees this claim, or this claim sees the stop.
    Locks are taken in the order process, login, comment, and none that an insert of a comment would wait for.
    """
    await session.execute(_lock_process(), {"the_process": process_id})
    wait = float((await session.execute(_lock_login(), {"the_login": login_id})).scalar_one())
    found = (await session.execute(_first_to_post(), {"the_process": process_id, "the_login": login_id})).first()
    if found is None:
        return None
    if wait > 0:
        return Wait(wait)
    both = {"the_comment": found.id, "the_login": login_id}
    row = (await session.scalars(_take_to_post(), both | work.claim_parameters(token, lease))).one()
    return CommentToPost(
        claim=Claimed(row.id, row.monitoring_process_id, token, row.attempts, row.retry_count),
        login_id=login_id,
        article_id=row.mymoment_article_id,
        title=row.article_title,
        text=row.comment_content or "",
        hidden=found.hide_comments,
        sent=row.post_sent_at is not None,
        known_ids=frozenset(found.known_ids or ()),
    )


@cache
def _lock_process() -> Select[tuple[UUID]]:
    process = MonitoringProcess
    return select(process.id).where(process.id == work.id_parameter("the_process")).with_for_update(read=True)


@cache
def _lock_login() -> Select[tuple[Any]]:
    """Seconds until the login may post: its pause, or a moment while another post of it is in work."""
    login = MyMomentLogin
    pause = func.greatest(func.extract("epoch", login.next_post_at - func.now()), 0)
    free = or_(login.posting_token.is_(None), login.posting_lease_expires_at < func.now())
    return (
        select(case((free, func.coalesce(pause, 0)), else_=0.5))
        .where(login.id == work.id_parameter("the_login"))
        # Not FOR UPDATE: discovery's new comments refer to the login before it locks its process.
        .with_for_update(key_share=True)
    )


@cache
def _first_to_post() -> Select[tuple[UUID, bool, list[str]]]:
    """With the site's comment ids that other records of the login have on the article."""
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
    return (
        select(AIComment.id, MonitoringProcess.hide_comments, known.label("known_ids"))
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == work.id_parameter("the_process"))
        .where(AIComment.mymoment_login_id == work.id_parameter("the_login"), waiting("posting"))
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
    )


@cache
def _take_to_post() -> ReturningUpdate[tuple[AIComment]]:
    """The comment, and with it the login."""
    login = (
        update(MyMomentLogin)
        .where(MyMomentLogin.id == work.id_parameter("the_login"))
        .values(posting_token=work.id_parameter("the_token"), posting_lease_expires_at=work.lease_end())
        .returning(MyMomentLogin.id)
        .cte("login")
    )
    return _take_one().add_cte(login)
