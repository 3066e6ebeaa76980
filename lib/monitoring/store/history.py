"""A comment's whole history: what moved it, who, when, how long it took, and every call of a model for it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    CTE,
    Interval,
    String,
    Table,
    TextClause,
    Uuid,
    bindparam,
    delete,
    exists,
    func,
    literal,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.engine import CursorResult
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.database import Executor, as_text
from lib.monitoring.items import Claimed, KeptAnswer
from lib.monitoring.models import AIComment, ProcessStage, PromptTemplate
from lib.monitoring.records import CommentEvent, GenerationAttempt
from lib.monitoring.store import budgets, comments

ACTOR = "pressroom.actor"
# What waits for a provider that refuses is tried again, and told, without end.
MOST_STEPS = 300
MOST_ATTEMPTS = 50
_ATTEMPTS = cast("Table", GenerationAttempt.__table__)
_KEPT = [
    "provider_id",
    "provider_name",
    "outcome",
    "error",
    "model_name",
    "prompt_system",
    "prompt_user",
    "answer",
    "finish_reason",
    "findings",
    "input_tokens",
    "output_tokens",
    "tokens_estimated",
    "cost",
    "milliseconds",
]


@dataclass(frozen=True)
class Step:
    """One event. `seconds`: since the event before it; None for the first."""

    at: datetime
    kind: str
    from_status: str | None
    to_status: str
    attempt: int
    actor: str | None
    note: str | None
    seconds: float | None = None


@dataclass(frozen=True)
class Attempt:
    """One call of a model. `seconds`: how long it took."""

    at: datetime
    attempt: int
    started_at: datetime
    provider: str
    model: str | None
    template: str | None
    prompt_system: str | None
    prompt_user: str | None
    answer: str | None
    finish_reason: str | None
    findings: tuple[dict[str, str], ...]
    input_tokens: int
    output_tokens: int
    tokens_estimated: bool
    cost: Any
    outcome: str
    error: str | None
    flow_run_id: str | None
    seconds: float | None


async def note_attempt(executor: Executor, claim: Claimed, template_id: UUID, kept: KeptAnswer, zone: str) -> None:
    """Keep what the call gave and add it to the day's usage, in one statement; a second time changes nothing.

    It counts too when the comment is gone meanwhile.
    """
    await executor.execute(_note_attempt(), _noted_parameters(claim, template_id, kept, zone))


async def settle_answered(
    executor: Executor,
    claim: Claimed,
    template_id: UUID,
    kept: KeptAnswer,
    zone: str,
    *,
    now: Sequence[str] = (),
    **values: Any,
) -> int:
    """`note_attempt`, and with it the comment that came of it; return 0 if that was not ours any more, else 1."""
    statement = _settle_answered(tuple(sorted(values)), tuple(sorted(now)))
    parameters = _noted_parameters(claim, template_id, kept, zone) | comments.new_parameters(values)
    return len((await executor.execute(statement, parameters)).all())


def _noted_parameters(claim: Claimed, template_id: UUID, kept: KeptAnswer, zone: str) -> dict[str, Any]:
    return {
        "the_comment": claim.id,
        "the_token": claim.token,
        "the_template": template_id,
        "the_time": timedelta(milliseconds=kept.milliseconds),
        "the_stage": "generation",
        **{f"kept_{name}": value for name, value in asdict(kept).items() if name in _KEPT},
        "kept_findings": list(kept.findings),
        **budgets.spent_parameters(zone, claim.process_id, kept),
    }


@cache
def _note_attempt() -> TextClause:
    noted = _noted()
    return as_text(_spending(noted).add_cte(noted))


@cache
def _settle_answered(columns: tuple[str, ...], now: tuple[str, ...]) -> TextClause:
    noted = _noted()
    spending = _spending(noted).returning(literal(1).label("spent")).cte("spending")
    settled = comments.done(
        "generation", columns, now, AIComment.id == work.id_parameter("the_comment"), after=(noted, spending)
    )
    return as_text(settled)


def _noted() -> CTE:
    types = {column.name: column.type for column in _ATTEMPTS.columns}
    comment = work.id_parameter("the_comment")
    earlier = select(func.coalesce(func.max(GenerationAttempt.attempt), 0) + 1).where(
        GenerationAttempt.comment_id == comment
    )
    run = select(ProcessStage.flow_run_id).where(
        ProcessStage.monitoring_process_id == work.id_parameter("the_process"),
        ProcessStage.stage == bindparam("the_stage", type_=String()),
    )
    facts = (
        select(
            AIComment.id,
            work.id_parameter("the_token"),
            earlier.scalar_subquery(),
            # From the beginning of the transaction, so that the call comes before the step that it led to.
            func.now() - bindparam("the_time", type_=Interval()),
            bindparam("the_template", type_=Uuid()),
            run.scalar_subquery(),
            *(bindparam(f"kept_{name}", type_=types[name]) for name in _KEPT),
        )
        .where(AIComment.id == comment)
        .with_for_update(key_share=True, read=True)
    )
    columns = ["comment_id", "claim_token", "attempt", "started_at", "template_id", "flow_run_id", *_KEPT]
    return (
        insert(_ATTEMPTS)
        .from_select(columns, facts)
        .on_conflict_do_nothing(index_elements=["claim_token"])
        .returning(_ATTEMPTS.c.id)
        .cte("noted")
    )


def _spending(noted: CTE) -> Insert:
    """Once for what was noted; and for what came of a comment that is gone."""
    gone = ~exists().where(AIComment.id == work.id_parameter("the_comment"))
    spent = budgets.spent().where(or_(exists(select(noted.c.id)), gone))
    return budgets.spending().from_select(budgets.SPENT_COLUMNS, spent)


async def of_comment(session: AsyncSession, comment_id: UUID) -> list[Step | Attempt]:
    """The newest events and attempts, in the order in which they happened, each with how long it took."""
    events = await session.scalars(
        select(CommentEvent)
        .where(CommentEvent.comment_id == comment_id)
        .order_by(CommentEvent.id.desc())
        .limit(MOST_STEPS)
    )
    attempts = await session.execute(
        select(GenerationAttempt, PromptTemplate.name)
        .outerjoin(PromptTemplate, PromptTemplate.id == GenerationAttempt.template_id)
        .where(GenerationAttempt.comment_id == comment_id)
        .order_by(GenerationAttempt.id.desc())
        .limit(MOST_ATTEMPTS)
    )
    steps, calls = [_step(row) for row in events], [_attempt(row, template) for row, template in attempts]
    return merged(steps[::-1], calls[::-1])


async def thin_out(session: AsyncSession) -> int:
    """Of what a provider refused again and again, for the same reason, keep the last of each day; return how many went.

    Before that day is over all of it can be read. What was answered, or tried on the site, is kept in any case.
    """
    call, event = GenerationAttempt, CommentEvent
    calls = _repeated(
        call,
        call.ended_at,
        call.error,
        call.provider_id,
        where=[call.outcome == "error", call.answer.is_(None), call.input_tokens + call.output_tokens == 0],
    )
    events = _repeated(
        event,
        event.at,
        event.note,
        event.kind,
        where=[
            event.kind.in_(("claimed", "postponed", "released")),
            event.from_status == "prepared",
            event.to_status == "prepared",
        ],
    )
    gone = 0
    for kind, repeated in ((call, calls), (event, events)):
        result = await session.execute(delete(kind).where(kind.id.in_(repeated)))
        gone += cast("CursorResult[Any]", result).rowcount
    return gone


def _repeated(kind: Any, at: Any, said: Any, alike: Any, *, where: Sequence[Any]) -> Any:
    """The ids of those with a later one on the same day, of the same comment, for the same cause."""
    day = func.date_trunc("day", at)
    last = func.max(kind.id).over(partition_by=[kind.comment_id, alike, func.cause_of(said), day])
    found = select(kind.id, last.label("last")).where(day < func.date_trunc("day", func.now()), *where).subquery()
    return select(found.c.id).where(found.c.id < found.c.last)


def merged(steps: Sequence[Step], attempts: Sequence[Attempt]) -> list[Step | Attempt]:
    """In the order of their times; an attempt comes before the step that it led to."""
    timed = [
        replace(step, seconds=(step.at - before.at).total_seconds() if before else None)
        for before, step in zip([None, *steps], steps, strict=False)
    ]
    everything: list[Step | Attempt] = [*attempts, *timed]
    return sorted(everything, key=lambda each: each.at)


def _step(row: CommentEvent) -> Step:
    return Step(row.at, row.kind, row.from_status, row.to_status, row.attempt, row.actor, row.note)


def _attempt(row: GenerationAttempt, template: str | None) -> Attempt:
    return Attempt(
        at=row.started_at,
        attempt=row.attempt,
        started_at=row.started_at,
        provider=row.provider_name,
        model=row.model_name,
        template=template,
        prompt_system=row.prompt_system,
        prompt_user=row.prompt_user,
        answer=row.answer,
        finish_reason=row.finish_reason,
        findings=tuple(row.findings),
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        tokens_estimated=row.tokens_estimated,
        cost=row.cost,
        outcome=row.outcome,
        error=row.error,
        flow_run_id=row.flow_run_id,
        seconds=None if row.milliseconds is None else row.milliseconds / 1000,
    )
