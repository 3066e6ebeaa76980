"""What health looks at in the database."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from lib.monitoring.models import AIComment, MonitoringProcess, StageTick
from lib.monitoring.stages import TAKES, Stage
from lib.monitoring.store.comments import waiting


@dataclass(frozen=True)
class StageAge:
    """Seconds since the stage's last good tick, and the age of its oldest item that waits; None where there is none."""

    stage: Stage
    since_success: float | None
    oldest_waiting: float | None
    last_error: str | None


async def stage_ages(session: AsyncSession) -> list[StageAge]:
    since = func.extract("epoch", func.now() - StageTick.last_success_at)
    ticks = {
        row.stage: row
        for row in await session.execute(select(StageTick.stage, since.label("since"), StageTick.last_error))
    }
    ages: list[StageAge] = []
    for stage in ("discovery", *TAKES):
        tick = ticks.get(stage)
        oldest = await _oldest(session, stage) if stage in TAKES else None
        ages.append(
            StageAge(
                stage,
                None if tick is None or tick.since is None else float(tick.since),
                oldest,
                None if tick is None else tick.last_error,
            )
        )
    return ages


async def _oldest(session: AsyncSession, stage: Stage) -> float | None:
    age = func.extract("epoch", func.now() - func.min(AIComment.updated_at))
    statement = (
        select(age)
        .select_from(AIComment)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(waiting(stage))
    )
    found = (await session.execute(statement)).scalar_one()
    return None if found is None else float(found)
