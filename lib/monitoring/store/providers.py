"""Which providers a process may use now, and which of them is down."""

from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from lib import work
from lib.database import Executor
from lib.errors import NotFound
from lib.monitoring.models import LLMProviderConfiguration, MonitoringProcess
from lib.monitoring.presets import Budget


@dataclass(frozen=True)
class WhoWrites:
    """A process's provider, the one that stands in for it, and what the process may use in a day."""

    first: UUID | None
    fallback: UUID | None
    budget: Budget


@dataclass(frozen=True)
class ProviderRow:
    """A provider and for how many more seconds it counts as down; None when it does not, 0 when it may be tried."""

    row: LLMProviderConfiguration
    down: float | None


async def who_writes(executor: Executor, process_id: UUID) -> WhoWrites:
    """Raise NotFound."""
    found = (await executor.execute(_who_writes(), {"the_process": process_id})).first()
    if found is None:
        raise NotFound("The process is gone")
    return WhoWrites(found[0], found[1], Budget(found[2], found[3]))


@cache
def _who_writes() -> Select[Any]:
    process = MonitoringProcess
    return select(
        process.llm_provider_id, process.fallback_provider_id, process.budget_tokens, process.budget_money
    ).where(process.id == work.id_parameter("the_process"))


async def read(session: AsyncSession, provider_id: UUID) -> ProviderRow:
    """Raise NotFound."""
    down = func.greatest(func.extract("epoch", LLMProviderConfiguration.down_until - func.now()), 0)
    statement = select(LLMProviderConfiguration, LLMProviderConfiguration.down_until.is_not(None), down).where(
        LLMProviderConfiguration.id == provider_id
    )
    found = (await session.execute(statement)).first()
    if found is None:
        raise NotFound(f"There is no provider {provider_id}")
    row, was_down, seconds = found
    return ProviderRow(row, float(seconds) if was_down else None)


async def note_down(executor: Executor, provider_id: UUID, seconds: float, reason: str) -> None:
    """Let every worker use the fallbacks for so long."""
    await executor.execute(
        update(LLMProviderConfiguration)
        .where(LLMProviderConfiguration.id == provider_id)
        .values(down_until=work.in_seconds(seconds), down_reason=reason, updated_at=LLMProviderConfiguration.updated_at)
    )


async def note_works(executor: Executor, provider_id: UUID) -> None:
    await executor.execute(
        update(LLMProviderConfiguration)
        .where(LLMProviderConfiguration.id == provider_id, LLMProviderConfiguration.down_until <= func.now())
        .values(down_until=None, down_reason=None, updated_at=LLMProviderConfiguration.updated_at)
    )
