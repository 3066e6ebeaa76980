"""What alarms look at in the database: everything that is wrong now, each with when it began."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, and_, func, or_, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.monitoring.models import MonitoringProcess, MyMomentLogin, StageTick
from lib.monitoring.stages import STAGES, Stage

# How long a process that stopped by itself is worth an alert: the worker may have been away meanwhile.
RECENT = 86_400.0
# Trouble on the way to the site is not the login's fault, unless it goes on.
FAILED_LOGINS = 3


@dataclass(frozen=True)
class SilentStage:
    """A stage that had something to do and no success. `seconds`: since its last one, or since there was something."""

    stage: Stage
    seconds: float
    last_error: str | None


@dataclass(frozen=True)
class EndedProcess:
    """A process that no person stopped."""

    id: UUID
    name: str
    status: str
    stop_reason: str | None
    error_message: str | None
    stopped_at: datetime


@dataclass(frozen=True)
class RefusedLogin:
    """A login by which nobody gets in. `since`: its first refusal, if the site refused it at all."""

    id: UUID
    name: str
    base_url: str
    failed_logins: int
    error_message: str | None
    since: datetime | None


async def silent_stages(session: AsyncSession, seconds: float) -> list[SilentStage]:
    """The stages without a success for so long, while a process has been running for as long."""
    began = (
        select(func.min(MonitoringProcess.started_at)).where(MonitoringProcess.status == "running").scalar_subquery()
    )
    stage = func.unnest(array(STAGES, type_=Text)).table_valued("stage").render_derived(name="every")
    since = func.extract("epoch", func.now() - func.greatest(StageTick.last_success_at, began))
    statement = (
        select(stage.c.stage, since, StageTick.last_error)
        .outerjoin_from(stage, StageTick, StageTick.stage == stage.c.stage)
        .where(began.is_not(None), since > seconds)
    )
    return [SilentStage(name, float(silent), error) for name, silent, error in await session.execute(statement)]


async def ended_processes(session: AsyncSession) -> list[EndedProcess]:
    """Those that ran out of time or failed of late, and were not started again."""
    by_itself = or_(
        and_(MonitoringProcess.status == "stopped", MonitoringProcess.stop_reason == "timeout"),
        MonitoringProcess.status == "failed",
    )
    statement = (
        select(MonitoringProcess)
        .where(by_itself, MonitoringProcess.stopped_at > work.in_seconds(-RECENT))
        .order_by(MonitoringProcess.id)
    )
    return [
        EndedProcess(row.id, row.name, row.status, row.stop_reason, row.error_message, row.stopped_at)
        for row in await session.scalars(statement)
        if row.stopped_at is not None
    ]


async def refused_logins(session: AsyncSession) -> list[RefusedLogin]:
    """Active logins that the site refuses, or that have failed several times in a row."""
    stopped_working = or_(MyMomentLogin.refused_since.is_not(None), MyMomentLogin.failed_logins >= FAILED_LOGINS)
    statement = select(MyMomentLogin).where(MyMomentLogin.is_active, stopped_working).order_by(MyMomentLogin.id)
    return [
        RefusedLogin(row.id, row.name, row.base_url, row.failed_logins, row.error_message, row.refused_since)
        for row in await session.scalars(statement)
    ]
