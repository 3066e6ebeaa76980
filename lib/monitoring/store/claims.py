"""What the stages take: one statement each that locks, claims, and returns a frozen snapshot.

One, because no lock is to be held while this process, which may be busy, gets around to the next statement. Statements
that run for every item are built once: building costs SQLAlchemy more time than running costs PostgreSQL.
"""

from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Row,
    Select,
    Table,
    and_,
    bindparam,
    case,
    exists,
    func,
    join,
    literal,
    or_,
    outerjoin,
    select,
    true,
    update,
)
from sqlalchemy.orm import aliased

from lib import work
from lib.database import Executor
from lib.monitoring.items import ArticleToPrepare, Claimed, CommentToGenerate, CommentToPost, Wait
from lib.monitoring.models import AIComment, LLMProviderConfiguration, MonitoringProcess, MyMomentLogin
from lib.monitoring.stages import Stage
from lib.monitoring.store.comments import waiting

_COMMENTS = cast("Table", AIComment.__table__)
# Seconds until a claim is tried again that met another one.
SOON = 0.05


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
        is_last=not first.more,
    )


def _more(stage: Stage, first: CTE, *but: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether something waits in the process after what was found first; before it, all is locked by others."""
    mine = AIComment.monitoring_process_id == work.id_parameter("the_process")
    waits = and_(mine, AIComment.monitoring_process_id == MonitoringProcess.id, waiting(stage))
    return exists().where(waits, AIComment.id > first.c.id, *but).correlate(first).label("more")


def _first_of_a_page() -> Select[tuple[UUID, UUID, str]]:
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
        select(AIComment.id, AIComment.mymoment_login_id, AIComment.mymoment_article_id)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(AIComment.monitoring_process_id == work.id_parameter("the_process"), waiting("preparation"), ~earlier)
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
    )


@cache
def _take_page() -> Select[Any]:
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
    taken = (
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
        .cte("taken")
    )
    return select(taken, _more("preparation", first, AIComment.id.not_in(select(taken.c.id)))).join(first, true())


async def claim_generation(
    executor: Executor, process_id: UUID, provider_id: UUID, limit: int, token: UUID, lease: float
) -> CommentToGenerate | Wait | None:
    """Claim one comment to generate, unless `limit` of the provider's are in work already, in any worker."""
    parameters = {"the_process": process_id, "the_provider": provider_id, "the_limit": limit}
    row = (await executor.execute(_take_to_generate(), parameters | work.claim_parameters(token, lease))).first()
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
        is_last=not row.more,
    )


def _claim(row: Row[Any], token: UUID) -> Claimed:
    return Claimed(row.id, row.monitoring_process_id, token, row.attempts, row.retry_count)


def calls_at_work() -> ColumnElement[int]:
    """How many calls of the provider are at work. Its row is locked first, so that no two claims count at once."""
    return func.calls_at_work(work.id_parameter("the_provider"), type_=Integer())


@cache
def _take_to_generate() -> Select[Any]:
    """No row when nothing waits, a row without a comment when the provider has enough in work."""
    there = LLMProviderConfiguration.id == work.id_parameter("the_provider")
    provider = select(calls_at_work().label("at_work")).where(there).cte("provider")
    first = (
        select(AIComment.id, provider.c.at_work)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .join(provider, literal(value=True))
        .where(AIComment.monitoring_process_id == work.id_parameter("the_process"), waiting("generation"))
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
        .cte("first")
    )
    may = select(first.c.id).where(first.c.at_work < bindparam("the_limit", type_=Integer()))
    taken = (
        update(_COMMENTS)
        .where(_COMMENTS.c.id.in_(may))
        .values(work.claiming(AIComment) | {AIComment.llm_provider_id: work.id_parameter("the_provider")})
        .returning(_COMMENTS)
        .cte("taken")
    )
    more = _more("generation", first)
    return select(taken, more).select_from(first.outerjoin(taken, taken.c.id == first.c.id))


async def claim_post(
    executor: Executor, process_id: UUID, login_id: UUID, token: UUID, lease: float
) -> CommentToPost | Wait | None:
    """Claim one comment to post, and with it the login: one post at a time and `next_post_at` kept, in any worker.

    The process row is locked against a stop: either the stop sees this claim, or this claim sees the stop.
    """
    parameters = {"the_process": process_id, "the_login": login_id} | work.claim_parameters(token, lease)
    row = (await executor.execute(_take_to_post(), parameters)).first()
    if row is None or not (row.id or row.more):
        return None
    if row.id is None:
        return Wait(max(float(row.wait), SOON))
    return CommentToPost(
        claim=_claim(row, token),
        login_id=login_id,
        article_id=row.mymoment_article_id,
        title=row.article_title,
        text=row.comment_content or "",
        hidden=row.hide_comments,
        sent_ago=None if row.sent_ago is None else float(row.sent_ago),
        known_ids=frozenset(row.known_ids or ()),
        is_last=not row.more,
    )


def _seconds_to_wait() -> ColumnElement[Any]:
    """Until the login may post: its pause, or a moment while another post of it is in work."""
    login = MyMomentLogin
    pause = func.greatest(func.extract("epoch", login.next_post_at - func.now()), 0)
    free = or_(login.posting_token.is_(None), login.posting_lease_expires_at < func.now())
    return case((free, func.coalesce(pause, 0)), else_=0.5)


def _free_login(process: CTE) -> CTE:
    """The login, locked, if it may post now.

    The statement sees the rest as it was when it began. If the login has posted since, even if it is free again, it is
    not for this claim, which would not know of that comment. Not FOR UPDATE: new comments refer to the login.
    """
    login, before = MyMomentLogin, aliased(MyMomentLogin)
    return (
        select(login.id)
        .join(before, before.id == login.id)
        .join(process, literal(value=True))
        .where(login.id == work.id_parameter("the_login"), login.is_active, _seconds_to_wait() <= 0)
        .where(before.next_post_at.is_not_distinct_from(login.next_post_at))
        .with_for_update(of=login, key_share=True, skip_locked=True)
        .cte("free_login")
    )


def _known_ids() -> ColumnElement[Any]:
    """The site's comment ids that other records of the login have on the article."""
    other = aliased(AIComment)
    return (
        select(func.array_agg(other.mymoment_comment_id))
        .where(
            other.mymoment_login_id == AIComment.mymoment_login_id,
            other.mymoment_article_id == AIComment.mymoment_article_id,
            other.mymoment_comment_id.is_not(None),
        )
        .scalar_subquery()
    )


@cache
def _take_to_post() -> Select[Any]:
    """One row: the comment, or without one how long the login is to wait; and whether there is more to post.

    Locks are taken in the order process, login, comment: each is looked for when those before it are had.
    """
    mine, with_login = work.id_parameter("the_process"), work.id_parameter("the_login")
    of_both = and_(AIComment.monitoring_process_id == mine, AIComment.mymoment_login_id == with_login)
    locked = select(MonitoringProcess).where(MonitoringProcess.id == mine).with_for_update(read=True).cte("process")
    login = _free_login(locked)
    process = aliased(MonitoringProcess, locked)
    first = (
        select(AIComment.id, process.hide_comments, _known_ids().label("known_ids"))
        .join(process, process.id == AIComment.monitoring_process_id)
        .where(of_both, waiting("posting", process), exists(select(login.c.id)))
        .order_by(AIComment.id)
        .limit(1)
        .with_for_update(of=AIComment, skip_locked=True)
        .cte("first")
    )
    taken = (
        update(_COMMENTS)
        .where(_COMMENTS.c.id.in_(select(first.c.id)))
        .values(work.claiming(AIComment))
        .returning(_COMMENTS)
        .cte("taken")
    )
    taken_login = (
        update(MyMomentLogin)
        .where(MyMomentLogin.id == taken.c.mymoment_login_id)
        .values(posting_token=work.id_parameter("the_token"), posting_lease_expires_at=work.lease_end())
        .returning(MyMomentLogin.id)
        .cte("taken_login")
    )
    left = (
        exists()
        .where(of_both, AIComment.monitoring_process_id == MonitoringProcess.id, waiting("posting"))
        .where(AIComment.id.is_distinct_from(taken.c.id))
        .correlate(taken)
    )
    return (
        select(
            _seconds_to_wait().label("wait"),
            case((MyMomentLogin.is_active, left), else_=False).label("more"),
            taken,
            func.extract("epoch", func.now() - taken.c.post_sent_at).label("sent_ago"),
            first.c.hide_comments,
            first.c.known_ids,
        )
        .select_from(outerjoin(MyMomentLogin, join(first, taken, taken.c.id == first.c.id), literal(value=True)))
        .where(MyMomentLogin.id == with_login)
        .add_cte(taken_login)
    )
