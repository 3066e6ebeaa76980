"""Which stage of which process runs, when it is due, and how its ticks went."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import (
    JSON,
    ColumnElement,
    DateTime,
    Integer,
    Interval,
    Select,
    String,
    Update,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from lib import work
from lib.database import Executor
from lib.monitoring.items import IndexQuery, ProcessRef, StageReport, Watch
from lib.monitoring.models import (
    AIComment,
    MonitoringProcess,
    MyMomentLogin,
    ProcessLogin,
    ProcessStage,
    ProcessTemplate,
    StageTick,
)
from lib.monitoring.stages import STAGES, TAKES, Stage, upstream
from lib.monitoring.store.comments import is_running, taken_by, waiting


@cache
def _upstream_at_work(stage: Stage) -> Select[tuple[UUID]]:
    """The processes for which a stage before this one works on items now, so that more may come."""
    other = aliased(ProcessStage)
    return select(other.monitoring_process_id).where(other.stage.in_(upstream(stage)), work.held(other))


def _with_comments(stage: Stage) -> Select[tuple[UUID]]:
    """The processes with comments in the status that the stage takes, by hopping from one to the next in an index.

    So it costs by the processes that are found: neither by all that run nor by the comments that wait.
    """
    some = select(AIComment.monitoring_process_id).where(AIComment.status == taken_by(stage))
    one = some.order_by(AIComment.monitoring_process_id).limit(1)
    found = select(one.scalar_subquery().label("id")).cte(recursive=True)
    following = one.where(AIComment.monitoring_process_id > found.c.id).scalar_subquery()
    found = found.union_all(select(following).select_from(found).where(found.c.id.is_not(None)))
    return select(found.c.id).where(found.c.id.is_not(None))


def _has_work(stage: Stage, *, due: bool = True) -> ColumnElement[bool]:
    """Comments wait for it, or, with `due`, it is a login's turn to be looked at."""
    if stage == "discovery":
        look = exists().where(ProcessLogin.monitoring_process_id == MonitoringProcess.id)
        return and_(is_running(), look.where(ProcessLogin.next_look_at <= func.now()) if due else look)
    comments = exists().where(AIComment.monitoring_process_id == MonitoringProcess.id, waiting(stage))
    # Read once: PostgreSQL would reckon with a further look for every process, and rather walk through all of them.
    at_work = select(_upstream_at_work(stage).cte().c.monitoring_process_id)
    # The first condition says nothing new; it is what keeps the others from being asked of every process.
    may_have = MonitoringProcess.id.in_(_with_comments(stage).union(at_work))
    return and_(may_have, or_(comments, and_(is_running(), MonitoringProcess.id.in_(at_work))))


async def claim_stages(
    executor: Executor,
    stage: Stage,
    process_id: UUID | None,
    token: UUID,
    lease: float,
    flow_run_id: str | None,
    at_once: int,
    since: datetime | None = None,
) -> list[ProcessRef]:
    """Claim this stage of at most so many processes that have work for it, first who waited longest.

    If fewer are free, those that run already are named as skipped. Whose stage was begun since a moment had its turn.
    A process that is asked for by its id is looked at whether or not it is its turn. A second call with the same token,
    after the answer to the first was lost, finds what that one claimed.
    """
    narrowed = {"the_process": process_id, "the_moment": since}
    parameters = {"so_many": at_once, "the_run": flow_run_id} | work.claim_parameters(token, lease)
    parameters |= {name: value for name, value in narrowed.items() if value is not None}
    statement = _take_stages(stage, one=process_id is not None, since=since is not None)
    running = "this stage is still running"
    return [
        ProcessRef(row.id, row.name, None if row.free else running, row.user_id, row.at)
        for row in await executor.execute(statement, parameters)
    ]


@cache
def _take_stages(stage: Stage, *, one: bool, since: bool) -> Select[Any]:
    """Every tick claims several times, and building the statement takes the event loop longer than all else of it."""
    here = and_(ProcessStage.stage == stage, ProcessStage.next_due_at <= func.now(), _has_work(stage, due=not one))
    if one:
        here = and_(here, MonitoringProcess.id == work.id_parameter("the_process"))
    ours = func.coalesce(ProcessStage.claim_token == work.id_parameter("the_token"), False)
    if since:
        before = ProcessStage.last_started_at < bindparam("the_moment", type_=DateTime(timezone=True))
        here = and_(here, or_(ours, func.coalesce(before, True)))
    free = or_(work.unheld(ProcessStage), ours)
    candidates = (
        select(
            MonitoringProcess.id,
            MonitoringProcess.name,
            MonitoringProcess.user_id,
            free.label("free"),
            func.now().label("at"),
        )
        .join(ProcessStage, ProcessStage.monitoring_process_id == MonitoringProcess.id)
        .where(here)
        .order_by(ours.desc(), free.desc(), ProcessStage.last_started_at.asc().nulls_first(), MonitoringProcess.id)
        .limit(bindparam("so_many", type_=Integer()))
        .with_for_update(of=ProcessStage, skip_locked=True)
    )
    found = candidates.cte("found")
    mine = select(found.c.id).where(found.c.free)
    claimed = (
        update(ProcessStage)
        .where(ProcessStage.stage == stage, ProcessStage.monitoring_process_id.in_(mine))
        .values(work.claiming(ProcessStage))
        .values(last_started_at=func.now(), flow_run_id=bindparam("the_run", type_=String()))
        .returning(ProcessStage.monitoring_process_id)
        .cte("claimed")
    )
    return select(found).add_cte(claimed)


async def let_go(session: AsyncSession, flow_run_ids: Sequence[str]) -> int:
    """End the leases of flow runs whose worker is dead for certain; return how many stages they held.

    With a stage go the items that it had taken, and the logins that posted them.
    """
    over = {"lease_expires_at": work.in_seconds(-1)}
    dead = and_(ProcessStage.flow_run_id.in_(flow_run_ids), work.held(ProcessStage))
    ended = update(ProcessStage).where(dead).values(over).execution_options(synchronize_session=False)
    held = (await session.execute(ended.returning(ProcessStage.monitoring_process_id, ProcessStage.stage))).all()
    items = [(process_id, TAKES[stage]) for process_id, stage in held if stage in TAKES]
    theirs = tuple_(AIComment.monitoring_process_id, AIComment.status).in_(items)
    freed = (
        update(AIComment)
        .where(theirs, work.held(AIComment))
        .values(over)
        .returning(AIComment.claim_token)
        .execution_options(synchronize_session=False)
    )
    tokens = list(await session.scalars(freed))
    await session.execute(
        update(MyMomentLogin)
        .where(MyMomentLogin.posting_token.in_(tokens))
        .values(posting_lease_expires_at=work.in_seconds(-1))
        .execution_options(synchronize_session=False)
    )
    return len(held)


async def abandoned_stages(session: AsyncSession) -> list[Stage]:
    """The stages with work whose holder died: a lease of the stage, or of one of its comments, has ended."""
    return [stage for stage in STAGES if (await session.execute(_abandoned(stage))).first() is not None]


def _abandoned(stage: Stage) -> Select[tuple[UUID]]:
    lapsed = and_(ProcessStage.claim_token.is_not(None), work.unheld(ProcessStage), _has_work(stage))
    if stage in TAKES:
        process = aliased(MonitoringProcess)
        left = (
            select(process.id)
            .join(AIComment, AIComment.monitoring_process_id == process.id)
            .where(waiting(stage, process), AIComment.claim_token.is_not(None))
        )
        lapsed = or_(lapsed, and_(work.unheld(ProcessStage), MonitoringProcess.id.in_(left)))
    return (
        select(MonitoringProcess.id)
        .join(ProcessStage, ProcessStage.monitoring_process_id == MonitoringProcess.id)
        .where(ProcessStage.stage == stage, lapsed)
        .limit(1)
    )


async def waits_for_tick(executor: Executor, stage: Stage) -> UUID | None:
    """A process that a tick of the stage would find, if it began now."""
    return (await executor.execute(_waits_for_tick(stage))).scalar()


@cache
def _waits_for_tick(stage: Stage) -> Select[tuple[UUID]]:
    return (
        select(MonitoringProcess.id)
        .join(ProcessStage, ProcessStage.monitoring_process_id == MonitoringProcess.id)
        .where(ProcessStage.stage == stage, ProcessStage.next_due_at <= func.now(), work.unheld(ProcessStage))
        .where(_has_work(stage))
        .limit(1)
    )


async def finish_stage(
    executor: Executor, stage: Stage, token: UUID, report: StageReport, error: str | None = None
) -> None:
    """Let the stage go and note how it went."""
    noted = {
        "done": report.done,
        "failed": report.failed,
        "retried": report.retried,
        "note": report.note,
        "seconds": round(report.seconds, 3),
    }
    here = {"the_process": report.process_id, "the_stage": stage, "the_token": token}
    what = {"new_report": noted, "new_error": error or next(iter(report.errors), None)}
    await executor.execute(_finished(well=error is None), here | what)


@cache
def _finished(*, well: bool) -> Update:
    here, at = ProcessStage, {ProcessStage.last_success_at: func.now()} if well else {}
    return (
        update(here)
        .where(here.monitoring_process_id == work.id_parameter("the_process"))
        .where(here.stage == bindparam("the_stage", type_=String()))
        .where(here.claim_token == work.id_parameter("the_token"))
        .values(**work.FREE)
        .values(
            {here.last_report: bindparam("new_report", type_=JSON()), here.last_error: bindparam("new_error"), **at}
        )
        .execution_options(synchronize_session=False)
    )


async def note_tick(executor: Executor, stage: Stage, error: str | None) -> None:
    """Note that a tick of the stage ended, well or with an unexpected error."""
    now = func.now()
    values: dict[str, Any] = (
        {"last_success_at": now, "last_error": None} if error is None else {"last_failure_at": now, "last_error": error}
    )
    statement = insert(StageTick).values(stage=stage, **values)
    await executor.execute(statement.on_conflict_do_update(index_elements=[StageTick.stage], set_=values))


async def upstream_runs(executor: Executor, stage: Stage, process_id: UUID) -> bool:
    if not upstream(stage):
        return False
    return (await executor.execute(_upstream_runs(stage), {"the_process": process_id})).first() is not None


@cache
def _upstream_runs(stage: Stage) -> Select[tuple[UUID]]:
    """Asked more often than anything, and building it takes longer than running it."""
    return select(MonitoringProcess.id).where(
        MonitoringProcess.id == work.id_parameter("the_process"),
        is_running(),
        MonitoringProcess.id.in_(_upstream_at_work(stage)),
    )


async def waiting_count(session: AsyncSession, stage: Stage, process_ids: Sequence[UUID]) -> int:
    """How many comments wait for the stage in these processes."""
    statement = (
        select(func.count())
        .select_from(AIComment)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(MonitoringProcess.id.in_(process_ids), waiting(stage))
    )
    return (await session.execute(statement)).scalar_one()


async def posting_logins(executor: Executor, process_id: UUID) -> list[UUID]:
    """The logins that this process has, or has comments to post with."""
    own = select(ProcessLogin.mymoment_login_id).where(ProcessLogin.monitoring_process_id == process_id)
    left = select(AIComment.mymoment_login_id).where(
        AIComment.monitoring_process_id == process_id, AIComment.status == "generated"
    )
    return list((await executor.execute(own.union(left))).scalars())


async def watches(session: AsyncSession, process_ids: Sequence[UUID], *, due: bool) -> list[Watch]:
    """The (process, login) pairs with all that discovery needs to know of them; with `due` those whose turn it is."""
    templates = (
        select(
            ProcessTemplate.monitoring_process_id,
            func.array_agg(ProcessTemplate.prompt_template_id).label("ids"),
        )
        .group_by(ProcessTemplate.monitoring_process_id)
        .subquery()
    )
    statement = (
        select(MonitoringProcess, ProcessLogin, MyMomentLogin.base_url, templates.c.ids)
        .join(ProcessLogin, ProcessLogin.monitoring_process_id == MonitoringProcess.id)
        .join(MyMomentLogin, MyMomentLogin.id == ProcessLogin.mymoment_login_id)
        .join(templates, templates.c.monitoring_process_id == MonitoringProcess.id)
        .where(MonitoringProcess.id.in_(process_ids))
    )
    if due:
        statement = statement.where(ProcessLogin.next_look_at <= func.now())
    return [_watch(process, look, base_url, ids) for process, look, base_url, ids in await session.execute(statement)]


def _watch(process: MonitoringProcess, look: ProcessLogin, base_url: str, templates: Sequence[UUID]) -> Watch:
    query = None
    if process.tab_filter:
        query = IndexQuery(process.tab_filter, process.category_filter, process.task_filter)
    return Watch(
        process_id=process.id,
        user_id=process.user_id,
        provider_id=process.llm_provider_id,
        login_id=look.mymoment_login_id,
        base_url=base_url,
        query=query,
        search=process.search_filter,
        state=process.state_filter,
        limit=process.article_limit,
        quiet_looks=look.quiet_looks,
        template_ids=tuple(templates),
    )


async def settle_watches(executor: Executor, process_id: UUID, looks: Sequence[tuple[UUID, int, float]]) -> None:
    """Set when each login is looked at next: (login, quiet looks in a row, seconds until then)."""
    for login_id, quiet, delay in looks:
        here = {"the_process": process_id, "the_login": login_id}
        await executor.execute(_looked(), here | {"so_many": quiet, "the_delay": timedelta(seconds=delay)})


@cache
def _looked() -> Update:
    look = ProcessLogin
    return (
        update(look)
        .where(look.monitoring_process_id == work.id_parameter("the_process"))
        .where(look.mymoment_login_id == work.id_parameter("the_login"))
        .values(
            quiet_looks=bindparam("so_many", type_=Integer()),
            next_look_at=func.now() + bindparam("the_delay", type_=Interval()),
        )
        .execution_options(synchronize_session=False)
    )
