"""All processes at a glance: a few queries, however many processes and comments there are."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Integer, Select, and_, cast, exists, func, literal, or_, select, union_all
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from lib import work
from lib.monitoring.models import (
    AIComment,
    LLMProviderConfiguration,
    MonitoringProcess,
    MyMomentLogin,
    ProcessLogin,
    ProcessStage,
    StageTick,
    User,
)
from lib.monitoring.stages import STAGES, TAKES, Stage
from lib.monitoring.store.comments import approved_after_end, is_in_work
from lib.monitoring.store.scope import called, seen

HOURS = 24
SECONDS = 3600


@dataclass(frozen=True)
class StageState:
    """One stage of one process; `held`: it runs now. `tick`: how it went over all processes."""

    row: ProcessStage
    held: bool
    tick: StageTick | None


@dataclass(frozen=True)
class ProcessState:
    """A process with its owner's name, its fallback provider's, and its stages in their order."""

    row: MonitoringProcess
    owner: str
    provider: LLMProviderConfiguration | None
    fallback: str | None
    stages: tuple[StageState, ...]


@dataclass(frozen=True)
class Counts:
    """Comments of one process. `failed`: by the status that they failed in; `held` and `later` by their status.

    `later`: their next attempt is not due yet. `undecided` and `approved` are among the generated; `posting_on` of the
    approved are posted although the process has ended.
    `posted_per_hour`: of the last `HOURS` hours, the oldest first.
    """

    by_status: dict[str, int]
    failed: dict[str, int]
    held: dict[str, int]
    later: dict[str, int]
    undecided: int
    approved: int
    rejected: int
    posting_on: int = 0
    posted_per_hour: tuple[int, ...] = (0,) * HOURS

    @property
    def total(self) -> int:
        return sum(self.by_status.values())


NOTHING = Counts({}, {}, {}, {}, 0, 0, 0)


async def states(session: AsyncSession, sees: UUID | None, reference: str | None = None) -> list[ProcessState]:
    """In the order of their names; with a `reference`, those of this name or id alone."""
    fallback = aliased(LLMProviderConfiguration)
    statement = (
        select(
            MonitoringProcess,
            User.name,
            LLMProviderConfiguration,
            fallback.name,
            ProcessStage,
            work.held(ProcessStage),
            StageTick,
        )
        .join(User, User.id == MonitoringProcess.user_id)
        .outerjoin(LLMProviderConfiguration, LLMProviderConfiguration.id == MonitoringProcess.llm_provider_id)
        .outerjoin(fallback, fallback.id == MonitoringProcess.fallback_provider_id)
        .outerjoin(ProcessStage, ProcessStage.monitoring_process_id == MonitoringProcess.id)
        .outerjoin(StageTick, StageTick.stage == ProcessStage.stage)
        .where(seen(MonitoringProcess.user_id, sees))
        .order_by(MonitoringProcess.name, MonitoringProcess.id)
    )
    if reference is not None:
        statement = statement.where(called(MonitoringProcess, reference))
    found: dict[UUID, tuple[MonitoringProcess, str, LLMProviderConfiguration | None, str | None]] = {}
    stages: dict[UUID, dict[str, StageState]] = {}
    for process, owner, provider, second, stage, held, tick in await session.execute(statement):
        found[process.id] = (process, owner, provider, second)
        if stage is not None:
            stages.setdefault(process.id, {})[stage.stage] = StageState(stage, bool(held), tick)
    return [ProcessState(*of_it, _in_order(stages.get(id_, {}))) for id_, of_it in found.items()]


def _in_order(stages: dict[str, StageState]) -> tuple[StageState, ...]:
    return tuple(stages[stage] for stage in STAGES if stage in stages)


def _visible(sees: UUID | None, only: UUID | None) -> list[Any]:
    mine = [seen(MonitoringProcess.user_id, sees)]
    return mine if only is None else [*mine, MonitoringProcess.id == only]


async def counts(session: AsyncSession, sees: UUID | None, only: UUID | None = None) -> dict[UUID, Counts]:
    """Of every process that has comments. Each part but that of those in work reads an index alone."""
    ago = func.floor(func.date_part("epoch", func.now() - AIComment.posted_at) / SECONDS)
    lately = AIComment.posted_at > func.now() - func.make_interval(0, 0, 0, 0, HOURS)
    ended = exists().where(MonitoringProcess.id == AIComment.monitoring_process_id, approved_after_end())
    posting_on = and_(AIComment.status == "generated", AIComment.approval == "approved", ended)
    by_approval = func.coalesce(AIComment.approval, "undecided")
    parts = union_all(
        _part("by_status", AIComment.status, sees, only),
        _part("failed", func.coalesce(AIComment.failed_from, ""), sees, only, AIComment.status == "failed"),
        _part("held", AIComment.status, sees, only, is_in_work()),
        _part("later", AIComment.status, sees, only, AIComment.next_attempt_at > func.now()),
        _part("approval", by_approval, sees, only, AIComment.status == "generated"),
        _part("posting_on", AIComment.status, sees, only, posting_on),
        _part("posted", cast(ago, Integer), sees, only, lately),
    )
    found: dict[UUID, dict[str, dict[str, int]]] = {}
    for what, process_id, numbers in await session.execute(parts):
        found.setdefault(process_id, {})[what] = numbers
    return {process_id: _counts(parts) for process_id, parts in found.items()}


def _part(what: str, value: Any, sees: UUID | None, only: UUID | None, *where: Any) -> Select[Any]:
    mine = select(MonitoringProcess.id).where(*_visible(sees, only))
    statement = select(
        AIComment.monitoring_process_id.label("process"), value.label("value"), func.count().label("number")
    ).where(*where)
    if sees is not None or only is not None:
        statement = statement.where(AIComment.monitoring_process_id.in_(mine))
    each = statement.group_by(AIComment.monitoring_process_id, value).subquery()
    numbers = func.json_object_agg(each.c.value, each.c.number, type_=JSON)
    return select(literal(what), each.c.process, numbers).group_by(each.c.process)


def _counts(parts: dict[str, dict[str, int]]) -> Counts:
    approval = parts.get("approval", {})
    return Counts(
        by_status=parts.get("by_status", {}),
        failed=parts.get("failed", {}),
        held=parts.get("held", {}),
        later=parts.get("later", {}),
        undecided=approval.get("undecided", 0),
        approved=approval.get("approved", 0),
        rejected=approval.get("rejected", 0),
        posting_on=parts.get("posting_on", {}).get("generated", 0),
        posted_per_hour=_per_hour(parts.get("posted", {})),
    )


def _per_hour(by_age: dict[str, int]) -> tuple[int, ...]:
    numbers = [0] * HOURS
    for hours_ago, number in by_age.items():
        numbers[HOURS - 1 - min(max(int(hours_ago), 0), HOURS - 1)] += number
    return tuple(numbers)


@dataclass(frozen=True)
class LoginTrouble:
    """A login that the site refuses or that is switched off while a running process needs it."""

    id: UUID
    name: str
    is_active: bool
    error: str | None
    next_login_at: datetime | None
    processes: tuple[str, ...]


async def logins_in_trouble(session: AsyncSession, sees: UUID | None) -> list[LoginTrouble]:
    names = func.array_agg(MonitoringProcess.name.distinct()).filter(MonitoringProcess.status == "running")
    refused = and_(MyMomentLogin.error_message.is_not(None), MyMomentLogin.failed_logins > 0)
    off = and_(MyMomentLogin.is_active.is_(False), MonitoringProcess.status == "running")
    statement = (
        select(
            MyMomentLogin.id,
            MyMomentLogin.name,
            MyMomentLogin.is_active,
            MyMomentLogin.error_message,
            MyMomentLogin.next_login_at,
            names,
        )
        .outerjoin(ProcessLogin, ProcessLogin.mymoment_login_id == MyMomentLogin.id)
        .outerjoin(MonitoringProcess, MonitoringProcess.id == ProcessLogin.monitoring_process_id)
        .where(seen(MyMomentLogin.user_id, sees), or_(refused, off))
        .group_by(MyMomentLogin.id)
        .order_by(MyMomentLogin.name)
    )
    return [
        LoginTrouble(id_, name, active, error, next_at, tuple(running or ()))
        for id_, name, active, error, next_at, running in await session.execute(statement)
    ]


@dataclass(frozen=True)
class ItemTrouble:
    """Comments that failed in the last hour, or wait after an error, with one cause in one process.

    `refused`: nothing was wrong with the items; the other side did not accept our credentials or configuration.
    """

    process_id: UUID
    process: str
    provider: str | None
    status: str
    failed: bool
    refused: bool
    cause: str
    number: int
    last: str


async def items_in_trouble(session: AsyncSession, sees: UUID | None, most: int) -> list[ItemTrouble]:
    """At most `most` of each kind, the most frequent first."""
    failed = and_(AIComment.status == "failed", AIComment.failed_at > func.now() - func.make_interval(0, 0, 0, 0, 1))
    waits = and_(
        AIComment.error_message.is_not(None),
        AIComment.status != "failed",
        AIComment.status != "posted",
        AIComment.next_attempt_at > func.now(),
    )
    both = union_all(
        _trouble(func.coalesce(AIComment.failed_from, ""), literal(1), sees, most, failed),
        _trouble(AIComment.status, literal(0), sees, most, waits),
    )
    return [
        ItemTrouble(process_id, process, provider, status, bool(is_failed), bool(refused), cause or "", number, last)
        for process_id, process, provider, status, is_failed, refused, cause, number, last in await session.execute(
            both
        )
    ]


def _trouble(status: Any, failed: Any, sees: UUID | None, most: int, where: Any) -> Select[Any]:
    number = func.count()
    # A refusal costs an item nothing, so its record of failures stays clean.
    refused = func.bool_and(AIComment.retry_count == 0)
    statement = (
        select(
            MonitoringProcess.id,
            MonitoringProcess.name,
            LLMProviderConfiguration.name.label("provider"),
            status.label("status"),
            failed.label("failed"),
            refused.label("refused"),
            AIComment.cause,
            number.label("number"),
            func.max(AIComment.error_message),
        )
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .outerjoin(LLMProviderConfiguration, LLMProviderConfiguration.id == MonitoringProcess.llm_provider_id)
        .where(where, seen(MonitoringProcess.user_id, sees))
        .group_by(MonitoringProcess.id, LLMProviderConfiguration.name, status, AIComment.cause)
        .order_by(number.desc())
        .limit(most)
    )
    return select(statement.subquery())


def waiting_in(counts_of: Counts, stage: Stage) -> int:
    """Comments that the stage has before it and nobody works on."""
    if stage == "discovery":
        return 0
    status = TAKES[stage]
    number = counts_of.by_status.get(status, 0) - counts_of.held.get(status, 0)
    return number - (counts_of.rejected if status == "generated" else 0)
