"""Processes: their making, their life, and what they have to show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import and_, delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.database import Executor
from lib.errors import Conflict, Invalid, NotFound
from lib.monitoring.models import (
    AIComment,
    LLMProviderConfiguration,
    MonitoringProcess,
    MyMomentLogin,
    ProcessLogin,
    ProcessStage,
    ProcessTemplate,
    PromptTemplate,
    User,
)
from lib.monitoring.stages import STAGES
from lib.monitoring.store.comments import approved_after_end
from lib.monitoring.store.scope import NAMED, called, seen, some_of

STARTABLE = ("created", "stopped", "failed")
# An end holds what was approved before it.
ENDED: dict[str, Any] = {"stopped_at": func.clock_timestamp(), "held_at": func.clock_timestamp()}


@dataclass(frozen=True)
class ProcessParts:
    """What a process refers to."""

    logins: tuple[MyMomentLogin, ...]
    templates: tuple[PromptTemplate, ...]
    provider: LLMProviderConfiguration | None


async def add(
    session: AsyncSession, process: MonitoringProcess, login_ids: Sequence[UUID], template_ids: Sequence[UUID]
) -> MonitoringProcess:
    """Raise Conflict when the owner has one of that name already."""
    session.add(process)
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict(f"There is a process “{process.name}” already", "name") from error
    key = {"monitoring_process_id": process.id}
    if login_ids:
        await session.execute(insert(ProcessLogin), [{**key, "mymoment_login_id": id_} for id_ in login_ids])
    if template_ids:
        await session.execute(insert(ProcessTemplate), [{**key, "prompt_template_id": id_} for id_ in template_ids])
    await session.execute(insert(ProcessStage), [{**key, "stage": stage} for stage in STAGES])
    await session.refresh(process)
    return process


async def listed(session: AsyncSession, sees: UUID | None) -> Sequence[MonitoringProcess]:
    mine = seen(MonitoringProcess.user_id, sees)
    statement = select(MonitoringProcess).where(mine).order_by(MonitoringProcess.name, MonitoringProcess.id)
    return (await session.scalars(statement)).all()


async def by_name(session: AsyncSession, sees: UUID | None, reference: str) -> MonitoringProcess:
    """By name or id. Raise NotFound that names what there is, or Invalid for a name that several owners use."""
    mine = seen(MonitoringProcess.user_id, sees)
    called_so = select(MonitoringProcess).where(mine, called(MonitoringProcess, reference)).limit(2)
    found = (await session.scalars(called_so)).all()
    if not found:
        raise NotFound(f"There is no process “{reference}”; there are: {await names(session, sees)}")
    if len(found) > 1:
        raise Invalid(f"Several owners have a process “{reference}”; name it by its id")
    return found[0]


async def names(session: AsyncSession, sees: UUID | None) -> str:
    """The first of them, for an error that says what there is."""
    statement = (
        select(MonitoringProcess.name)
        .where(seen(MonitoringProcess.user_id, sees))
        .order_by(MonitoringProcess.name)
        .limit(NAMED + 1)
    )
    return some_of((await session.scalars(statement)).all())


async def parts(session: AsyncSession, process: MonitoringProcess) -> ProcessParts:
    own_logins = select(ProcessLogin.mymoment_login_id).where(ProcessLogin.monitoring_process_id == process.id)
    own_templates = select(ProcessTemplate.prompt_template_id).where(
        ProcessTemplate.monitoring_process_id == process.id
    )
    logins = await session.scalars(
        select(MyMomentLogin).where(MyMomentLogin.id.in_(own_logins)).order_by(MyMomentLogin.name)
    )
    templates = await session.scalars(
        select(PromptTemplate).where(PromptTemplate.id.in_(own_templates)).order_by(PromptTemplate.name)
    )
    provider = None
    if process.llm_provider_id:
        provider = await session.get(LLMProviderConfiguration, process.llm_provider_id)
    return ProcessParts(tuple(logins), tuple(templates), provider)


async def running_count(session: AsyncSession, user_id: UUID) -> int:
    statement = select(func.count()).where(MonitoringProcess.user_id == user_id, MonitoringProcess.status == "running")
    return (await session.execute(statement)).scalar_one()


async def more_run_than(executor: Executor, number: int) -> bool:
    statement = select(MonitoringProcess.id).where(MonitoringProcess.status == "running").offset(number).limit(1)
    return (await executor.execute(statement)).first() is not None


async def running_by_owner(session: AsyncSession) -> dict[UUID, int]:
    """How many run of each owner who has one that does."""
    running = select(MonitoringProcess.user_id, func.count()).where(MonitoringProcess.status == "running")
    rows = await session.execute(running.group_by(MonitoringProcess.user_id))
    return {row[0]: row[1] for row in rows}


async def owner_is_active(session: AsyncSession, process: MonitoringProcess) -> bool:
    """And stays so until the transaction ends: whoever deactivates them then waits, and finds what runs."""
    locked = select(User.is_active).where(User.id == process.user_id).with_for_update(read=True)
    return (await session.execute(locked)).scalar_one()


async def start(session: AsyncSession, process_id: UUID, *, tried: bool = False) -> bool:
    """From created, stopped or failed to running, its clock started; False if it was in another state.

    `tried`: its logins were accepted just now, so what was refused before does not count any more.
    """
    duration = func.make_interval(0, 0, 0, 0, 0, MonitoringProcess.max_duration_minutes)
    started = await session.scalars(
        update(MonitoringProcess)
        .where(MonitoringProcess.id == process_id, MonitoringProcess.status.in_(STARTABLE))
        .values(
            status="running",
            started_at=func.now(),
            expires_at=func.now() + duration,
            stopped_at=None,
            held_at=None,
            stop_reason=None,
            error_message=None,
        )
        .returning(MonitoringProcess.id)
        .execution_options(synchronize_session=False)
    )
    if started.first() is None:
        return False
    mine = ProcessLogin.monitoring_process_id == process_id
    await session.execute(update(ProcessLogin).where(mine).values(quiet_looks=0, next_look_at=func.now()))
    if tried:
        refused = and_(MyMomentLogin.failed_logins > 0, work.unheld(MyMomentLogin))
        await session.execute(
            update(MyMomentLogin)
            .where(MyMomentLogin.id.in_(select(ProcessLogin.mymoment_login_id).where(mine)), refused)
            .values(failed_logins=0, refused_since=None, next_login_at=None, error_message=None)
            .execution_options(synchronize_session=False)
        )
    return True


async def end(session: AsyncSession, process_id: UUID, status: str, reason: str, error: str | None = None) -> bool:
    """From running to `status`; False if it was not running. From this commit on nothing more is claimed for it."""
    ended = await session.scalars(
        update(MonitoringProcess)
        .where(MonitoringProcess.id == process_id, MonitoringProcess.status == "running")
        .values(status=status, **ENDED, stop_reason=reason, error_message=error)
        .returning(MonitoringProcess.id)
        .execution_options(synchronize_session=False)
    )
    return ended.first() is not None


async def end_all(session: AsyncSession, sees: UUID | None) -> Sequence[MonitoringProcess]:
    """Stop every running process; return those that this stopped."""
    statement = (
        update(MonitoringProcess)
        .where(seen(MonitoringProcess.user_id, sees), MonitoringProcess.status == "running")
        .values(status="stopped", **ENDED, stop_reason="user")
        .returning(MonitoringProcess)
        .execution_options(synchronize_session=False)
    )
    return (await session.scalars(statement)).all()


async def hold(session: AsyncSession, sees: UUID | None, only: UUID | None = None) -> Sequence[MonitoringProcess]:
    """Hold what was approved after the end of processes that do not run; return those that had anything to post.

    The end itself stays what it was. Every such process is locked, so that a claim sees this or this sees the claim.
    """
    mine = [seen(MonitoringProcess.user_id, sees), MonitoringProcess.status.not_in(("created", "running"))]
    if only is not None:
        mine.append(MonitoringProcess.id == only)
    ids = select(MonitoringProcess.id).where(*mine).order_by(MonitoringProcess.id).with_for_update(key_share=True)
    locked = (await session.scalars(ids)).all()
    waits = exists().where(
        AIComment.monitoring_process_id == MonitoringProcess.id, AIComment.status == "generated", approved_after_end()
    )
    posting = select(MonitoringProcess).where(MonitoringProcess.id.in_(locked), waits).order_by(MonitoringProcess.name)
    found = (await session.scalars(posting)).all()
    await session.execute(
        update(MonitoringProcess)
        .where(MonitoringProcess.id.in_(locked))
        .values(held_at=func.clock_timestamp(), updated_at=MonitoringProcess.updated_at)
        .execution_options(synchronize_session=False)
    )
    return found


async def end_overdue(session: AsyncSession) -> list[str]:
    """Stop every process whose time is over; return their names."""
    ended = await session.scalars(
        update(MonitoringProcess)
        .where(MonitoringProcess.status == "running", MonitoringProcess.expires_at <= func.now())
        .values(status="stopped", **ENDED, stop_reason="timeout")
        .returning(MonitoringProcess.name)
        .execution_options(synchronize_session=False)
    )
    return list(ended)


async def posts_in_work(session: AsyncSession, process_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the processes of which a worker holds a comment to post right now."""
    statement = select(AIComment.monitoring_process_id).where(
        AIComment.monitoring_process_id.in_(process_ids), AIComment.status == "generated", work.held(AIComment)
    )
    return set(await session.scalars(statement))


async def remove(session: AsyncSession, process: MonitoringProcess) -> None:
    """Delete the process and its comments' records. Raise Conflict while it runs or a post of it is in work."""
    process = await lock(session, process.id)
    if process.status == "running" or await posts_in_work(session, [process.id]):
        raise Conflict(f"The process “{process.name}” is running; stop it first")
    await session.execute(delete(MonitoringProcess).where(MonitoringProcess.id == process.id))


async def pipeline_status(session: AsyncSession, process_id: UUID) -> dict[str, int]:
    """Comments by status, `rejected` ones among the generated, and `total`."""
    rejected = func.count().filter(and_(AIComment.approval == "rejected", AIComment.status == "generated"))
    statement = (
        select(AIComment.status, func.count(), rejected)
        .where(AIComment.monitoring_process_id == process_id)
        .group_by(AIComment.status)
    )
    counts: dict[str, int] = dict.fromkeys(("discovered", "prepared", "generated", "posted", "failed", "rejected"), 0)
    for status, number, turned_down in await session.execute(statement):
        counts[status] = number
        counts["rejected"] += turned_down
    return counts | {"total": sum(counts.values()) - counts["rejected"]}


async def replace_parts(
    session: AsyncSession,
    process: MonitoringProcess,
    login_ids: Sequence[UUID] | None,
    template_ids: Sequence[UUID] | None,
) -> None:
    """Give a process other logins or templates; None leaves them. Its comments keep theirs."""
    key = {"monitoring_process_id": process.id}
    if login_ids is not None:
        await session.execute(delete(ProcessLogin).where(ProcessLogin.monitoring_process_id == process.id))
        await session.execute(insert(ProcessLogin), [{**key, "mymoment_login_id": id_} for id_ in login_ids])
    if template_ids is not None:
        await session.execute(delete(ProcessTemplate).where(ProcessTemplate.monitoring_process_id == process.id))
        await session.execute(insert(ProcessTemplate), [{**key, "prompt_template_id": id_} for id_ in template_ids])


async def write(session: AsyncSession, process: MonitoringProcess) -> None:
    """Bring its changes to the database. Raise Conflict for a taken name."""
    try:
        await session.flush()
    except IntegrityError as error:
        raise Conflict(f"There is a process “{process.name}” already", "name") from error
    await session.refresh(process)


async def lock(session: AsyncSession, process_id: UUID) -> MonitoringProcess:
    """The process as it is now, and until the end of the transaction. Raise NotFound."""
    locked = select(MonitoringProcess).where(MonitoringProcess.id == process_id).with_for_update()
    process = (await session.scalars(locked.execution_options(populate_existing=True))).first()
    if process is None:
        raise NotFound("The process was removed a moment ago")
    return process


async def at_rest(session: AsyncSession, process_id: UUID) -> MonitoringProcess:
    """The process, locked against a start. Raise Conflict while it runs."""
    process = await lock(session, process_id)
    if process.status == "running":
        raise Conflict(f"The process “{process.name}” is running; stop it first")
    return process


async def delete_old_comments(session: AsyncSession, days: int) -> int:
    """Delete finished comments of processes that do not run, older than `days`; return how many."""
    at_rest = select(MonitoringProcess.id).where(MonitoringProcess.status != "running")
    gone: Any = await session.scalars(
        delete(AIComment)
        .where(AIComment.status.in_(("posted", "failed")), AIComment.monitoring_process_id.in_(at_rest))
        .where(AIComment.created_at < func.now() - func.make_interval(0, 0, 0, days))
        .returning(AIComment.id)
        .execution_options(synchronize_session=False)
    )
    return len(gone.all())
