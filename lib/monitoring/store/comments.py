"""Comments through the stages: inserted, claimed, settled."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, case, exists, func, not_, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute, aliased

from lib import work
from lib.errors import Permanent, PressroomError
from lib.monitoring.items import ArticleToPrepare, Claimed, CommentToGenerate, CommentToPost, Wait
from lib.monitoring.models import AIComment, LLMProviderConfiguration, MonitoringProcess, MyMomentLogin
from lib.monitoring.stages import TAKES, Stage
from lib.work import Again, Dead, Policy, Postponed

DONE_COUNTER: dict[Stage, InstrumentedAttribute[int]] = {
    "discovery": MonitoringProcess.articles_discovered,
    "preparation": MonitoringProcess.articles_prepared,
    "generation": MonitoringProcess.comments_generated,
    "posting": MonitoringProcess.comments_posted,
}
ERROR_COUNTER: dict[Stage, InstrumentedAttribute[int]] = {
    "discovery": MonitoringProcess.errors_encountered_in_discovery,
    "preparation": MonitoringProcess.errors_encountered_in_preparation,
    "generation": MonitoringProcess.errors_encountered_in_generation,
    "posting": MonitoringProcess.errors_encountered_in_posting,
}
# A new stage begins with a clean record.
FRESH: dict[str, Any] = {"attempts": 0, "retry_count": 0, "next_attempt_at": None, "error_message": None}


def is_running() -> ColumnElement[bool]:
    """The process runs and its time is not over."""
    return and_(MonitoringProcess.status == "running", MonitoringProcess.expires_at > func.now())


def may_post() -> ColumnElement[bool]:
    """A process that posts, or a comment that a person approved: while it runs, or after it was stopped.

    A stop holds every approval given before it; one given afterwards is a new decision.
    """
    approved = AIComment.approval == "approved"
    while_running = and_(is_running(), or_(not_(MonitoringProcess.generate_only), approved))
    after_stop = and_(
        MonitoringProcess.status.not_in(("created", "running")),
        approved,
        AIComment.approval_at > MonitoringProcess.stopped_at,
    )
    return and_(func.coalesce(AIComment.approval, "") != "rejected", or_(while_running, after_stop))


def waiting(stage: Stage) -> ColumnElement[bool]:
    """Comments that the stage could take now, given a join to their process."""
    allowed = may_post() if stage == "posting" else is_running()
    return and_(AIComment.status == TAKES[stage], work.due(AIComment), allowed)


async def insert_discovered(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> list[UUID]:
    """Insert comments; those that exist for the article, login and template stay as they are. Return the new ids."""
    if not rows:
        return []
    statement = insert(AIComment).on_conflict_do_nothing(constraint="one_comment_each").returning(AIComment.id)
    return list(await session.scalars(statement, list(rows)))


async def known_articles(
    session: AsyncSession, login_id: UUID, template_ids: Iterable[UUID], article_ids: Iterable[str]
) -> set[str]:
    """Which of the articles have a comment of this login with every one of these templates."""
    wanted = set(template_ids)
    statement = (
        select(AIComment.mymoment_article_id)
        .where(AIComment.mymoment_login_id == login_id, AIComment.mymoment_article_id.in_(set(article_ids)))
        .where(AIComment.prompt_template_id.in_(wanted))
        .group_by(AIComment.mymoment_article_id)
        .having(func.count() == len(wanted))
    )
    return set(await session.scalars(statement))


async def claim_article(session: AsyncSession, process_id: UUID, token: UUID, lease: float) -> ArticleToPrepare | None:
    """Claim every comment that waits for one article page of one login, whichever running process it is of.

    The first of them in this process stands for the page, so that two claimants never take the same page.
    """
    other = aliased(AIComment)
    earlier = exists().where(
        other.monitoring_process_id == process_id,
        other.mymoment_login_id == AIComment.mymoment_login_id,
        other.mymoment_article_id == AIComment.mymoment_article_id,
        other.status == "discovered",
        work.due(other),
        other.id < AIComment.id,
    )
    first = (
        select(AIComment.mymoment_login_id, AIComment.mymoment_article_id, AIComment.article_title)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == process_id, waiting("preparation"), ~earlier)
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
    )
    found = (await session.execute(first)).first()
    if found is None:
        return None
    same_page = (
        select(AIComment.id)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(
            AIComment.mymoment_login_id == found.mymoment_login_id,
            AIComment.mymoment_article_id == found.mymoment_article_id,
            waiting("preparation"),
        )
        .with_for_update(of=AIComment, skip_locked=True)
    )
    claimed = await _take(session, same_page, token, lease)
    return ArticleToPrepare(tuple(claimed), found.mymoment_login_id, found.mymoment_article_id, found.article_title)


async def _take(session: AsyncSession, picked: Any, token: UUID, lease: float) -> list[Claimed]:
    statement = (
        update(AIComment)
        .where(AIComment.id.in_(picked.cte("picked").select()))
        .values(work.claiming(AIComment, token, lease))
        .returning(AIComment.id, AIComment.monitoring_process_id, AIComment.attempts, AIComment.retry_count)
        .execution_options(synchronize_session=False)
    )
    rows = await session.execute(statement)
    return [Claimed(id_, process_id, token, attempts, failures) for id_, process_id, attempts, failures in rows]


async def claim_generation(
    session: AsyncSession, process_id: UUID, provider_id: UUID, limit: int, token: UUID, lease: float
) -> CommentToGenerate | Wait | None:
    """Claim one comment to generate, unless `limit` of the provider's are in work already, in any worker."""
    provider = LLMProviderConfiguration
    await session.execute(select(provider.id).where(provider.id == provider_id).with_for_update(key_share=True))
    in_work = select(func.count()).where(
        AIComment.llm_provider_id == provider_id, AIComment.status == "prepared", work.held(AIComment)
    )
    picked = (
        select(AIComment.id, in_work.scalar_subquery().label("in_work"))
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == process_id, waiting("generation"))
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
    )
    found = (await session.execute(picked)).first()
    if found is None:
        return None
    if found.in_work >= limit:
        return Wait(0.2)
    statement = (
        update(AIComment)
        .where(AIComment.id == found.id)
        .values({**work.claiming(AIComment, token, lease), AIComment.llm_provider_id: provider_id})
        .returning(AIComment)
        .execution_options(synchronize_session=False)
    )
    row = (await session.scalars(statement)).one()
    return CommentToGenerate(
        claim=Claimed(row.id, row.monitoring_process_id, token, row.attempts, row.retry_count),
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


async def claim_post(
    session: AsyncSession, process_id: UUID, login_id: UUID, token: UUID, lease: float
) -> CommentToPost | Wait | None:
    """Claim one comment to post, and with it the login: one post at a time and `next_post_at` kept, in any worker.

    The process row is locked against a stop: either the stop sees this claim, or this claim sees the stop.
    Locks are taken in the order process, login, comment, and none that an insert of a comment would wait for.
    """
    await session.execute(
        select(MonitoringProcess.id).where(MonitoringProcess.id == process_id).with_for_update(read=True)
    )
    login = MyMomentLogin
    pause = func.greatest(func.extract("epoch", login.next_post_at - func.now()), 0)
    free = or_(login.posting_token.is_(None), login.posting_lease_expires_at < func.now())
    turn = await session.execute(
        select(case((free, func.coalesce(pause, 0)), else_=0.5))
        .where(login.id == login_id)
        # Not FOR UPDATE: discovery's new comments refer to the login before it locks its process.
        .with_for_update(key_share=True)
    )
    wait = float(turn.scalar_one())
    picked = (
        select(AIComment, MonitoringProcess.hide_comments)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == process_id, AIComment.mymoment_login_id == login_id)
        .where(waiting("posting"))
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
    )
    found = (await session.execute(picked)).first()
    if found is None:
        return None
    if wait > 0:
        return Wait(wait)
    row, hidden = found
    return await _take_post(session, row, hidden=hidden, token=token, lease=lease)


async def _take_post(
    session: AsyncSession, row: AIComment, *, hidden: bool, token: UUID, lease: float
) -> CommentToPost:
    login_id = row.mymoment_login_id
    await session.execute(
        update(MyMomentLogin)
        .where(MyMomentLogin.id == login_id)
        .values(posting_token=token, posting_lease_expires_at=work.in_seconds(lease))
    )
    claimed = await _take(session, select(AIComment.id).where(AIComment.id == row.id), token, lease)
    return CommentToPost(
        claim=claimed[0],
        login_id=login_id,
        article_id=row.mymoment_article_id,
        title=row.article_title,
        text=row.comment_content or "",
        hidden=hidden,
        sent=row.post_sent_at is not None,
        known_ids=await _known_ids(session, login_id, row.mymoment_article_id),
    )


async def _known_ids(session: AsyncSession, login_id: UUID, article_id: str) -> frozenset[str]:
    """The site's comment ids that other records of this login have on the article."""
    statement = select(AIComment.mymoment_comment_id).where(
        AIComment.mymoment_login_id == login_id,
        AIComment.mymoment_article_id == article_id,
        AIComment.mymoment_comment_id.is_not(None),
    )
    return frozenset(str(id_) for id_ in await session.scalars(statement))


async def confirm_post(session: AsyncSession, claim: Claimed, lease: float) -> bool:
    """Note that the post goes out now, and renew both leases; False if the claim is not ours any more."""
    await session.execute(
        update(MyMomentLogin)
        .where(MyMomentLogin.posting_token == claim.token)
        .values(posting_lease_expires_at=work.in_seconds(lease))
    )
    noted = await session.scalars(
        update(AIComment)
        .where(AIComment.id == claim.id, AIComment.claim_token == claim.token)
        .values(post_sent_at=func.now(), lease_expires_at=work.in_seconds(lease))
        .returning(AIComment.id)
    )
    return noted.first() is not None


async def unconfirm_post(session: AsyncSession, claim: Claimed) -> None:
    """Note that the last post certainly did not arrive."""
    await session.execute(
        update(AIComment)
        .where(AIComment.id == claim.id, AIComment.claim_token == claim.token)
        .values(post_sent_at=None)
        .execution_options(synchronize_session=False)
    )


async def release_login(session: AsyncSession, token: UUID, pause: float) -> None:
    """Let the next post of the login come after `pause` seconds."""
    await session.execute(
        update(MyMomentLogin)
        .where(MyMomentLogin.posting_token == token)
        .values(posting_token=None, posting_lease_expires_at=None, next_post_at=work.in_seconds(pause))
    )


async def settle_done(session: AsyncSession, stage: Stage, claims: Sequence[Claimed], **values: Any) -> int:
    """Write a stage's result to its comments and count it; return how many of them were still ours."""
    kept = await _write(session, claims, **FRESH, **values)
    await _count(session, DONE_COUNTER[stage], kept)
    return len(kept)


async def settle_failed(
    session: AsyncSession, stage: Stage, claims: Sequence[Claimed], error: PressroomError, policy: Policy
) -> tuple[int, int]:
    """Write a failure: again later, or dead. Return (dead, again), counting only what was still ours."""
    dead = again = 0
    for claim in claims:
        what = work.verdict(error, claim.failures + 1, policy)
        reason = _last_words(stage, error) if isinstance(what, Dead) else str(error)
        kept = await _write(session, [claim], error_message=reason, **_after(what, claim, TAKES[stage]))
        await _count(session, ERROR_COUNTER[stage], kept)
        dead += len(kept) if isinstance(what, Dead) else 0
        again += 0 if isinstance(what, Dead) else len(kept)
    return dead, again


def _last_words(stage: Stage, error: PressroomError) -> Any:
    """Why there will be no further attempt. A post that was sent may be there, unless the site was seen without it."""
    if stage != "posting" or isinstance(error, Permanent):
        return str(error)
    return case((AIComment.post_sent_at.is_not(None), f"Outcome unknown: {error}"), else_=str(error))


def _after(what: Again | Postponed | Dead, claim: Claimed, status: str) -> dict[str, Any]:
    """The columns that say what follows a failure in `status`."""
    match what:
        case Again(delay):
            return {"retry_count": claim.failures + 1, "next_attempt_at": work.in_seconds(delay)}
        case Postponed(delay):
            return {"attempts": AIComment.attempts - 1, "next_attempt_at": work.in_seconds(delay)}
        case Dead():
            return {
                "retry_count": claim.failures + 1,
                "next_attempt_at": None,
                "status": "failed",
                "failed_from": status,
                "failed_at": func.now(),
            }


async def release(session: AsyncSession, claims: Sequence[Claimed]) -> None:
    """Give untouched comments back as they were."""
    await _write(session, claims, attempts=AIComment.attempts - 1)


async def _write(session: AsyncSession, claims: Sequence[Claimed], **values: Any) -> list[UUID]:
    """Settle the claims that are still ours; return the process of each."""
    statement = (
        update(AIComment)
        .where(AIComment.id.in_([claim.id for claim in claims]), AIComment.claim_token == claims[0].token)
        .values(**work.FREE, **values)
        .returning(AIComment.monitoring_process_id)
        .execution_options(synchronize_session=False)
    )
    return list(await session.scalars(statement))


async def _count(session: AsyncSession, counter: InstrumentedAttribute[int], processes: Sequence[UUID]) -> None:
    # In the order of their ids, so that two of these never wait for each other.
    for process_id, number in sorted(Counter(processes).items()):
        await session.execute(
            update(MonitoringProcess)
            .where(MonitoringProcess.id == process_id)
            .values({counter: counter + number})
            .execution_options(synchronize_session=False)
        )


async def count_error(session: AsyncSession, stage: Stage, process_id: UUID) -> None:
    """Count a failure that concerns no single comment."""
    await _count(session, ERROR_COUNTER[stage], [process_id])


async def count_discovered(session: AsyncSession, process_id: UUID, number: int) -> None:
    if number:
        await _count(session, DONE_COUNTER["discovery"], [process_id] * number)
