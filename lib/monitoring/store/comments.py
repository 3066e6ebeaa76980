"""Comments through the stages: inserted, claimed, settled."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    CTE,
    ColumnElement,
    Integer,
    Interval,
    Select,
    String,
    Update,
    Uuid,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    not_,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.dml import ReturningUpdate

from lib import work
from lib.database import Executor
from lib.errors import Permanent, PressroomError
from lib.monitoring.items import Claimed
from lib.monitoring.models import AIComment, MonitoringProcess, MyMomentLogin
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


# What the conditions below look at: the process as it is, or as a statement has locked it.
Process = type[MonitoringProcess]


def is_running(process: Process = MonitoringProcess) -> ColumnElement[bool]:
    """The process runs and its time is not over."""
    return and_(process.status == "running", process.expires_at > func.now())


def may_post(process: Process = MonitoringProcess) -> ColumnElement[bool]:
    """A process that posts, or a comment that a person approved: while it runs, or after it was stopped.

    A stop holds every approval given before it; one given afterwards is a new decision.
    """
    approved = AIComment.approval == "approved"
    while_running = and_(is_running(process), or_(not_(process.generate_only), approved))
    allowed = or_(while_running, approved_after_end(process))
    return and_(func.coalesce(AIComment.approval, "") != "rejected", allowed)


def approved_after_end(process: Process = MonitoringProcess) -> ColumnElement[bool]:
    """The process has ended, and the approval is newer than its last stop."""
    return and_(
        process.status.not_in(("created", "running")),
        AIComment.approval == "approved",
        AIComment.approval_at > process.held_at,
    )


def taken_by(stage: Stage) -> ColumnElement[str]:
    """The status of what the stage takes; in the statement's text, for PostgreSQL to see which partial index fits."""
    return literal_column(f"'{TAKES[stage]}'", String())


def waiting(stage: Stage, process: Process = MonitoringProcess) -> ColumnElement[bool]:
    """Comments that the stage could take now, given a join to their process."""
    allowed = may_post(process) if stage == "posting" else is_running(process)
    return and_(AIComment.status == taken_by(stage), work.due(AIComment), allowed)


def is_in_work() -> ColumnElement[bool]:
    """A worker holds it: PostgreSQL needs to look only among those that are not over."""
    return and_(AIComment.status.in_([taken_by(stage) for stage in TAKES]), work.held(AIComment))


async def insert_discovered(session: AsyncSession, rows: Sequence[dict[str, Any]]) -> list[UUID]:
    """Insert comments; those found before for the article, login and template stay. Return the new ids."""
    if not rows:
        return []
    statement = insert(AIComment).on_conflict_do_nothing(constraint="one_comment_each").returning(AIComment.id)
    return list(await session.scalars(statement, list(rows)))


async def known_articles(
    executor: Executor, login_id: UUID, template_ids: Iterable[UUID], article_ids: Iterable[str]
) -> set[str]:
    """Which of the articles have a comment of this login that was found for each of these templates."""
    wanted, among = set(template_ids), set(article_ids)
    parameters = {"the_login": login_id, "the_templates": wanted, "the_articles": among, "so_many": len(wanted)}
    return set((await executor.execute(_known(), parameters)).scalars())


@cache
def _known() -> Select[tuple[str]]:
    article = AIComment.mymoment_article_id
    return (
        select(article)
        .where(AIComment.mymoment_login_id == work.id_parameter("the_login"))
        .where(article.in_(bindparam("the_articles", expanding=True, type_=String())))
        .where(AIComment.discovered_template_id.in_(bindparam("the_templates", expanding=True, type_=Uuid())))
        .group_by(article)
        .having(func.count() == bindparam("so_many", type_=Integer()))
    )


async def confirm_post(executor: Executor, claim: Claimed, lease: float) -> bool:
    """Note that the post goes out now, and renew both leases; False if the claim is not ours any more.

    When its lease has ended, a stop, a rejection or an edit may have come since.
    """
    parameters = {"the_comment": claim.id} | work.claim_parameters(claim.token, lease)
    return (await executor.execute(_confirm(), parameters)).first() is not None


@cache
def _confirm() -> ReturningUpdate[tuple[UUID]]:
    login = (
        update(MyMomentLogin)
        .where(MyMomentLogin.posting_token == work.id_parameter("the_token"))
        .values(posting_lease_expires_at=work.lease_end())
        .returning(MyMomentLogin.id)
        .cte("login")
    )
    return (
        update(AIComment)
        .where(AIComment.id == work.id_parameter("the_comment"))
        .where(AIComment.claim_token == work.id_parameter("the_token"), work.held(AIComment))
        .values(post_sent_at=func.now(), lease_expires_at=work.lease_end())
        .returning(AIComment.id)
        .add_cte(login)
        .execution_options(synchronize_session=False)
    )


async def unconfirm_post(session: AsyncSession, claim: Claimed) -> None:
    """Note that the last post certainly did not arrive."""
    await session.execute(
        update(AIComment)
        .where(AIComment.id == claim.id, AIComment.claim_token == claim.token)
        .values(post_sent_at=None)
        .execution_options(synchronize_session=False)
    )


async def release_login(executor: Executor, token: UUID, pause: float) -> None:
    """Let the next post of the login come after `pause` seconds."""
    await executor.execute(_released_login(), {"the_token": token, "the_pause": timedelta(seconds=pause)})


@cache
def _released_login() -> ReturningUpdate[tuple[UUID]]:
    return (
        update(MyMomentLogin)
        .where(MyMomentLogin.posting_token == work.id_parameter("the_token"))
        .values(
            posting_token=None,
            posting_lease_expires_at=None,
            next_post_at=func.now() + bindparam("the_pause", type_=Interval()),
        )
        .returning(MyMomentLogin.id)
    )


async def settle_done(
    executor: Executor,
    stage: Stage,
    claims: Sequence[Claimed],
    *,
    now: Sequence[str] = (),
    pause: float = 0,
    **values: Any,
) -> int:
    """Write a stage's result to its comments and count it; return how many of them were still ours.

    `now`: the columns that get the database's time. Posting lets the login go with it, whose next post comes after
    `pause` seconds.
    """
    parameters = new_parameters(values)
    parameters |= {"the_comments": [claim.id for claim in claims], "the_token": claims[0].token}
    if stage == "posting":
        parameters["the_pause"] = timedelta(seconds=pause)
    statement = _done(stage, tuple(sorted(values)), tuple(sorted(now)))
    return len((await executor.execute(statement, parameters)).all())


def new_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """What `done` is to write."""
    return {f"new_{column}": value for column, value in values.items()}


@cache
def _done(stage: Stage, columns: tuple[str, ...], now: tuple[str, ...]) -> Select[tuple[UUID]]:
    which = AIComment.id.in_(bindparam("the_comments", expanding=True, type_=Uuid()))
    settled = done(stage, columns, now, which)
    return settled.add_cte(_released_login().cte("login")) if stage == "posting" else settled


def done(
    stage: Stage, columns: Iterable[str], now: Iterable[str], which: ColumnElement[bool], after: Sequence[CTE] = ()
) -> Select[tuple[UUID]]:
    """The update and the count of what it found, in one statement; both come after what `after` does."""
    types = {column.name: column.type for column in AIComment.__table__.columns}
    given = {column: bindparam(f"new_{column}", type_=types[column]) for column in columns}
    written = (
        update(AIComment)
        .where(which, AIComment.claim_token == work.id_parameter("the_token"))
        .where(*(work.is_over(each) for each in after))
        .values(**work.FREE, **FRESH, **given, **dict.fromkeys(now, func.now()))
        .returning(AIComment.monitoring_process_id.label("process_id"))
        .cte("done")
    )
    number = select(written.c.process_id, func.count().label("number")).group_by(written.c.process_id).cte("number")
    counter = DONE_COUNTER[stage]
    counted = (
        update(MonitoringProcess)
        .where(MonitoringProcess.id == number.c.process_id)
        .values({counter: counter + number.c.number})
        .returning(MonitoringProcess.id)
        .cte("counted")
    )
    return select(written.c.process_id).add_cte(counted)


async def settle_failed(
    session: AsyncSession, stage: Stage, claims: Sequence[Claimed], error: PressroomError, policy: Policy
) -> tuple[int, int]:
    """Write a failure: again later, or dead. Return (dead, again), counting only what was still ours."""
    dead = again = 0
    for claim in claims:
        what = work.verdict(error, claim.failures + 1, policy)
        reason = _last_words(stage, error) if isinstance(what, Dead) else str(error)
        kept = await _write(session, [claim], error_message=reason, **_after(what, claim, TAKES[stage], policy))
        await _count(session, ERROR_COUNTER[stage], kept)
        dead += len(kept) if isinstance(what, Dead) else 0
        again += 0 if isinstance(what, Dead) else len(kept)
    return dead, again


def _last_words(stage: Stage, error: PressroomError) -> Any:
    """Why there will be no further attempt. A post that was sent may be there, unless the site was seen without it."""
    if stage != "posting" or isinstance(error, Permanent):
        return str(error)
    return case((AIComment.post_sent_at.is_not(None), f"Outcome unknown: {error}"), else_=str(error))


def _after(what: Again | Postponed | Dead, claim: Claimed, status: str, policy: Policy) -> dict[str, Any]:
    """The columns that say what follows a failure in `status`."""
    match what:
        case Again(delay):
            return {"retry_count": claim.failures + 1, "next_attempt_at": work.in_seconds(delay)}
        case Postponed(delay):
            return {"attempts": AIComment.attempts - 1, "next_attempt_at": work.in_seconds(delay)}
        case Dead():
            return {
                "retry_count": claim.failures + 1,
                # Should a person try it again: not before what was sent had its time to arrive.
                "next_attempt_at": AIComment.post_sent_at + timedelta(seconds=policy.unknown),
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
        await session.execute(_add_to(counter), {"the_process": process_id, "so_many": number})


@cache
def _add_to(counter: InstrumentedAttribute[int]) -> Update:
    return (
        update(MonitoringProcess)
        .where(MonitoringProcess.id == work.id_parameter("the_process"))
        .values({counter: counter + bindparam("so_many", type_=Integer())})
        .execution_options(synchronize_session=False)
    )


async def count_error(session: AsyncSession, stage: Stage, process_id: UUID) -> None:
    """Count a failure that concerns no single comment."""
    await _count(session, ERROR_COUNTER[stage], [process_id])


async def count_discovered(session: AsyncSession, process_id: UUID, number: int) -> None:
    if number:
        await _count(session, DONE_COUNTER["discovery"], [process_id] * number)
