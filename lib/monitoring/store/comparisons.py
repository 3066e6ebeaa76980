"""Comparisons: two templates over the same past articles, each answer claimed and settled like every other work."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.errors import NotFound
from lib.monitoring.items import KeptAnswer, Wait
from lib.monitoring.models import AIComment, LLMProviderConfiguration, PromptTemplate
from lib.monitoring.records import Comparison, ComparisonAnswer
from lib.monitoring.store.choosing import Wanted, chosen
from lib.monitoring.store.claims import calls_at_work
from lib.work import Again, Dead, Policy, Postponed, verdict

SIDES = ("a", "b")
LONGEST_WAIT = 5.0
# Several logins and templates write on one article.
LOOKED_AT_ONCE = 4
# Seconds in which a live run claims, settles or notes that it waits.
UNTOUCHED = 120.0


@dataclass(frozen=True)
class AnswerToGet:
    """One article to ask one template about."""

    id: UUID
    token: UUID
    failures: int
    provider_id: UUID
    template_id: UUID
    login_id: UUID
    title: str
    author: str
    category: str
    url: str
    published_at: datetime | None
    content: str
    raw_html: str


async def past_comments(
    session: AsyncSession, sees: UUID | None, process_id: UUID | None, limit: int
) -> list[tuple[UUID, str]]:
    """The newest comments with an article's text, one an article: their ids and the titles."""
    look = limit * LOOKED_AT_ONCE
    while True:
        columns = (AIComment.id, AIComment.article_title, AIComment.article_url, AIComment.article_content.is_not(None))
        statement = select(*columns).where(AIComment.id.in_(chosen(sees, Wanted(process_id), look)))
        rows = (await session.execute(statement.order_by(AIComment.id.desc()))).all()
        newest: dict[str, tuple[UUID, str]] = {}
        for id_, title, url, is_read in rows:
            if is_read:
                newest.setdefault(url, (id_, title))
        if len(newest) >= limit or len(rows) < look:
            return list(newest.values())[:limit]
        look *= LOOKED_AT_ONCE


async def with_articles(session: AsyncSession, sees: UUID | None, ids: Sequence[UUID]) -> set[UUID]:
    """Those of the comments that exist, may be seen and have an article's text."""
    statement = select(AIComment.id).where(AIComment.id.in_(ids), AIComment.article_content.is_not(None))
    if sees is not None:
        statement = statement.where(AIComment.user_id == sees)
    return set(await session.scalars(statement))


async def add(session: AsyncSession, row: Comparison, comment_ids: Sequence[UUID]) -> UUID:
    session.add(row)
    await session.flush()
    templates = {"a": row.template_a, "b": row.template_b}
    await session.execute(
        insert(ComparisonAnswer),
        [
            {
                "id": work.new_id(),
                "comparison_id": row.id,
                "comment_id": comment_id,
                "side": side,
                "template_id": templates[side],
                "provider_id": row.provider_id,
            }
            for comment_id in comment_ids
            for side in SIDES
        ],
    )
    return row.id


async def by_id(session: AsyncSession, sees: UUID | None, comparison_id: UUID) -> Comparison:
    """Raise NotFound."""
    row = await session.get(Comparison, comparison_id)
    if row is None or (sees is not None and row.user_id != sees):
        raise NotFound(f"There is no comparison {comparison_id}")
    return row


async def begin(session: AsyncSession, comparison_id: UUID) -> UUID | None:
    """Mark it as running; return its provider, or None when there is nothing left to do or no such comparison."""
    begun = update(Comparison).where(Comparison.id == comparison_id, Comparison.status != "done")
    begun = begun.values(status="running", error=None).execution_options(synchronize_session=False)
    return (await session.scalars(begun.returning(Comparison.provider_id))).first()


async def claim(
    session: AsyncSession, comparison_id: UUID, provider_id: UUID, limit: int, token: UUID, lease: float
) -> AnswerToGet | Wait | None:
    """Claim one answer, unless `limit` calls of the provider are at work already, in any worker; None at the end."""
    at_work = await session.scalar(select(calls_at_work()), {"the_provider": provider_id})
    mine = and_(ComparisonAnswer.comparison_id == comparison_id, ComparisonAnswer.status == "waiting")
    found = (
        await session.execute(
            select(ComparisonAnswer.id)
            .where(mine, work.due(ComparisonAnswer))
            .order_by(ComparisonAnswer.id)
            .limit(1)
            .with_for_update(of=ComparisonAnswer, skip_locked=True)
        )
    ).first()
    if found is None:
        return await _wait(session, mine)
    if (at_work or 0) >= limit:
        return Wait(0.2)
    taking = update(ComparisonAnswer).where(ComparisonAnswer.id == found.id).values(work.claiming(ComparisonAnswer))
    taking = taking.returning(ComparisonAnswer).execution_options(synchronize_session=False)
    row = (await session.scalars(taking, work.claim_parameters(token, lease))).one()
    article = (await session.scalars(select(AIComment).where(AIComment.id == row.comment_id))).one()
    return AnswerToGet(
        id=row.id,
        token=token,
        failures=row.retry_count,
        provider_id=provider_id,
        template_id=row.template_id,
        login_id=article.mymoment_login_id,
        title=article.article_title,
        author=article.article_author,
        category=article.article_category,
        url=article.article_url,
        published_at=article.article_published_at,
        content=article.article_content or "",
        raw_html=article.article_raw_html or "",
    )


async def _wait(session: AsyncSession, mine: ColumnElement[bool]) -> Wait | None:
    """Until the next of those that failed once, or that another worker holds, can be taken; None when there is none."""
    free_at = func.greatest(ComparisonAnswer.next_attempt_at, ComparisonAnswer.lease_expires_at)
    seconds = await session.scalar(select(func.min(func.extract("epoch", free_at - func.now()))).where(mine))
    left = await session.scalar(select(func.count()).where(mine))
    return Wait(min(max(float(seconds or 0), 0.1), LONGEST_WAIT)) if left else None


async def note_waiting(session: AsyncSession, comparison_id: UUID) -> None:
    """A run of it lives, and waits for a place at the provider or for an answer's time."""
    mine = and_(Comparison.id == comparison_id, Comparison.updated_at < work.in_seconds(-UNTOUCHED / 4))
    noted = update(Comparison).where(mine).values(updated_at=func.now())
    await session.execute(noted.execution_options(synchronize_session=False))


async def settle_answered(session: AsyncSession, item: AnswerToGet, kept: KeptAnswer, comment: str) -> bool:
    """Write what was answered, turned away or not; False if it is not ours any more."""
    mine = ComparisonAnswer.id == item.id
    values = {**_columns(kept), "error": None, "status": "done", "comment": comment, "next_attempt_at": None}
    return bool(await work.settle(session, ComparisonAnswer, item.token, mine, **values))


async def settle_failed(session: AsyncSession, item: AnswerToGet, kept: KeptAnswer, error: Any, policy: Policy) -> bool:
    """Again later, or failed; False if it is not ours any more."""
    values: dict[str, Any] = _columns(kept)
    match verdict(error, item.failures + 1, policy):
        case Again(delay):
            values |= {"retry_count": item.failures + 1, "next_attempt_at": work.in_seconds(delay)}
        case Postponed():
            values |= {"attempts": ComparisonAnswer.attempts - 1}
        case Dead():
            values |= {"retry_count": item.failures + 1, "status": "failed", "next_attempt_at": None}
    return bool(await work.settle(session, ComparisonAnswer, item.token, ComparisonAnswer.id == item.id, **values))


async def release(session: AsyncSession, item: AnswerToGet, error: str | None = None) -> None:
    """Give it back as it was."""
    values = {"attempts": ComparisonAnswer.attempts - 1, "error": error}
    await work.settle(session, ComparisonAnswer, item.token, ComparisonAnswer.id == item.id, **values)


def _columns(kept: KeptAnswer) -> dict[str, Any]:
    values = asdict(kept)
    for name in ("provider_id", "provider_name", "currency", "outcome"):
        del values[name]
    return values | {"findings": list(kept.findings)}


async def end(session: AsyncSession, comparison_id: UUID, error: str | None) -> None:
    """Done when no answer is left, else stopped; a run that another one goes on with leaves it running."""
    mine = ComparisonAnswer.comparison_id == comparison_id
    left = exists().where(mine, ComparisonAnswer.status == "waiting")
    ended = update(Comparison).where(Comparison.id == comparison_id).execution_options(synchronize_session=False)
    await session.execute(ended.where(~left).values(status="done", error=None))
    if error is not None:
        await session.execute(ended.where(left).values(status="stopped", error=error))


async def abandoned(session: AsyncSession) -> list[UUID]:
    """Running comparisons that nobody goes on with: nothing of them is at work, and a lease of theirs ended.

    A run that was cancelled gave its answers back and leaves no lease: nobody touched anything of it for a while.
    """
    of_it = ComparisonAnswer.comparison_id == Comparison.id
    lapsed = exists().where(of_it, ComparisonAnswer.claim_token.is_not(None), work.unheld(ComparisonAnswer))
    at_work = exists().where(of_it, work.held(ComparisonAnswer))
    long_ago = work.in_seconds(-UNTOUCHED)
    waiting = exists().where(of_it, ComparisonAnswer.status == "waiting")
    touched = exists().where(of_it, ComparisonAnswer.updated_at > long_ago)
    left = and_(Comparison.updated_at <= long_ago, waiting, ~touched)
    here = and_(Comparison.status == "running", ~at_work, or_(lapsed, left))
    return list(await session.scalars(select(Comparison.id).where(here)))


async def remove(session: AsyncSession, comparison_id: UUID) -> None:
    await session.execute(delete(Comparison).where(Comparison.id == comparison_id))


@dataclass(frozen=True)
class SideAnswer:
    """What one template made of one article."""

    status: str
    prompt_system: str | None
    prompt_user: str | None
    answer: str | None
    comment: str | None
    findings: tuple[dict[str, str], ...]
    input_tokens: int
    output_tokens: int
    tokens_estimated: bool
    cost: Decimal | None
    milliseconds: int | None
    model: str | None
    error: str | None


@dataclass(frozen=True)
class Pair:
    """One article, and what the two templates made of it."""

    comment_id: UUID
    title: str
    url: str
    content: str
    a: SideAnswer
    b: SideAnswer


@dataclass(frozen=True)
class ComparisonLine:
    """A comparison in a list. `left`: answers that still wait."""

    id: UUID
    name: str | None
    status: str
    error: str | None
    template_a: str
    template_b: str
    provider: str
    currency: str
    created_at: datetime
    answers: int
    left: int


async def listed(session: AsyncSession, sees: UUID | None, comparison_id: UUID | None = None) -> list[ComparisonLine]:
    """Newest first, or the one."""
    first, second = PromptTemplate.__table__.alias("first"), PromptTemplate.__table__.alias("second")
    provider = LLMProviderConfiguration
    counted = (
        select(
            ComparisonAnswer.comparison_id.label("id"),
            func.count().label("answers"),
            func.count().filter(ComparisonAnswer.status == "waiting").label("left"),
        )
        .group_by(ComparisonAnswer.comparison_id)
        .subquery()
    )
    statement = (
        select(
            Comparison.id,
            Comparison.name,
            Comparison.status,
            Comparison.error,
            first.c.name,
            second.c.name,
            provider.name,
            provider.currency,
            Comparison.created_at,
            func.coalesce(counted.c.answers, 0),
            func.coalesce(counted.c.left, 0),
        )
        .join(first, first.c.id == Comparison.template_a)
        .join(second, second.c.id == Comparison.template_b)
        .join(provider, provider.id == Comparison.provider_id)
        .outerjoin(counted, counted.c.id == Comparison.id)
        .order_by(Comparison.id.desc())
        .limit(200)
    )
    if comparison_id is not None:
        statement = statement.where(Comparison.id == comparison_id)
    if sees is not None:
        statement = statement.where(Comparison.user_id == sees)
    return [ComparisonLine(*row) for row in await session.execute(statement)]


async def pairs(session: AsyncSession, comparison_id: UUID) -> list[Pair]:
    """Side by side, in the articles' order."""
    statement = (
        select(ComparisonAnswer, AIComment.article_title, AIComment.article_url, AIComment.article_content)
        .join(AIComment, AIComment.id == ComparisonAnswer.comment_id)
        .where(ComparisonAnswer.comparison_id == comparison_id)
        .order_by(ComparisonAnswer.id)
    )
    articles: dict[UUID, tuple[str, str, str]] = {}
    answers: dict[UUID, dict[str, SideAnswer]] = {}
    for row, title, url, content in await session.execute(statement):
        articles[row.comment_id] = (title, url, content or "")
        answers.setdefault(row.comment_id, {})[row.side] = _side(row)
    return [Pair(id_, *articles[id_], sides["a"], sides["b"]) for id_, sides in answers.items()]


def _side(row: ComparisonAnswer) -> SideAnswer:
    return SideAnswer(
        row.status, row.prompt_system, row.prompt_user, row.answer, row.comment, tuple(row.findings),
        row.input_tokens, row.output_tokens, row.tokens_estimated, row.cost, row.milliseconds, row.model_name,
        row.error,
    )  # fmt: skip
