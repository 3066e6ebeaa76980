"""What health looks at in the database."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from lib.monitoring.models import AIComment, MonitoringProcess, StageTick
from lib.monitoring.stages import STAGES, TAKES, Stage
from lib.monitoring.store.comments import waiting


@dataclass(frozen=True)
class StageAge:
    """Seconds since the stage's last good tick, and the age of its oldest item that waits; None where there is none."""

    stage: Stage
    since_success: float | None
    oldest_waiting: float | None
    last_error: str | None


async def stage_ages(session: AsyncSession) -> list[StageAge]:
    """Of every stage."""
    oldest = [_oldest(stage).label(stage) for stage in TAKES]
    waiting_for: dict[str, Decimal | None] = dict((await session.execute(select(*oldest))).mappings().one())
    return [replace(age, oldest_waiting=_seconds(waiting_for.get(age.stage))) for age in await ticks(session)]


async def ticks(session: AsyncSession) -> list[StageAge]:
    """How the stages' ticks went, without a look at what waits."""
    since = func.extract("epoch", func.now() - StageTick.last_success_at)
    found = {row.stage: row for row in await session.execute(select(StageTick.stage, since, StageTick.last_error))}
    return [
        StageAge(stage, _seconds(found[stage][1]), None, found[stage][2])
        if stage in found
        else StageAge(stage, None, None, None)
        for stage in STAGES
    ]


def _seconds(number: Decimal | None) -> float | None:
    return None if number is None else float(number)


def _oldest(stage: Stage) -> ScalarSelect[Any]:
    return (
        select(func.extract("epoch", func.now() - func.min(AIComment.updated_at)))
        .select_from(AIComment)
        .join(MonitoringProcess, MonitoringProcess.id == AIComment.monitoring_process_id)
        .where(waiting(stage))
        .scalar_subquery()
    )
