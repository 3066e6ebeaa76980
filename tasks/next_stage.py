"""A stage that has made something has the next one started, which by itself comes a quarter of an interval later."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import structlog
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException
from prefect.runtime import deployment

from lib.database import persistently
from lib.monitoring import nudges
from lib.monitoring.runtime import Runtime
from lib.monitoring.stages import FLOWS, Stage, next_stage
from lib.monitoring.store import stages

# Seconds until it is asked again, doubled while it is asked in vain: what was asked for needs a moment to come.
SHORTEST, LONGEST = 1.0, 64.0
YET_TO_COME = (StateType.SCHEDULED, StateType.PENDING)

log = structlog.get_logger()


async def ask_for(stage: Stage, before: UUID | None = None) -> UUID | None:
    """Ask Prefect for a run of the stage's deployment, and do not wait for it. Return the run that is to come.

    It is `before`, an earlier answer, if that has not begun. None while the schedule is paused: whoever paused it wants
    that the stage does not run.
    """
    name = FLOWS[stage]
    async with get_client() as client:
        if before is not None and (run := await client.read_flow_run(before)).state_type in YET_TO_COME:
            return run.id
        found = await client.read_deployment_by_name(f"{name}/{name}")
        if found.paused or not any(schedule.active for schedule in found.schedules):
            return None
        return (await client.create_flow_run_from_deployment(found.id)).id


class _Following:
    """The stage after a tick's own, and how it comes to run."""

    def __init__(self, run: Runtime, stage: Stage, made: asyncio.Event) -> None:
        self._run = run
        self._stage = stage
        self._made = made
        self._asked: UUID | None = None

    async def start_until(self, over: asyncio.Event) -> None:
        """Look whenever something was made, and in the end once more."""
        pause = SHORTEST
        while not over.is_set():
            await _either(self._made, over)
            if self._made.is_set():
                pause = min(2 * pause, LONGEST) if await self._start() else SHORTEST
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), pause)
        if self._made.is_set():
            await self._start()

    async def _start(self) -> bool:
        """Ask for a run if something waits for one; return whether it does."""
        self._made.clear()
        waited_for = await persistently(self._is_waited_for)
        try:
            if waited_for:
                self._asked = await ask_for(self._stage, self._asked)
        except (PrefectException, httpx.HTTPError) as error:
            log.warning("the next stage waits for its schedule", stage=self._stage, error=str(error))
        return waited_for

    async def _is_waited_for(self) -> bool:
        async with self._run.database.alone() as connection:
            return await stages.is_waited_for(connection, self._stage)


@asynccontextmanager
async def started_when_needed(run: Runtime, stage: Stage) -> AsyncIterator[None]:
    """While a tick of `stage` runs: start the next one for what this one makes, unless it is served already.

    Only for a run of a deployment; a tick that a person or a test awaits has no schedule beside it.
    """
    following = next_stage(stage)
    if following is None or deployment.get_id() is None:
        yield
        return
    over = asyncio.Event()
    with nudges.listening(None, following) as made:
        starting = asyncio.create_task(_Following(run, following, made).start_until(over))
        try:
            yield
            over.set()
            await starting
        finally:
            starting.cancel()


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
