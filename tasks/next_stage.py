"""A tick has the stages after its own started, which by themselves come a quarter of an interval after each other."""

import asyncio
import contextlib
import math
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from uuid import UUID
from weakref import WeakKeyDictionary

import httpx
import structlog
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.exceptions import PrefectException
from prefect.runtime import deployment

from lib.monitoring import nudges
from lib.monitoring.runtime import Runtime
from lib.monitoring.stages import FLOWS, Stage, after
from lib.monitoring.store import stages

# Seconds until it is asked again, doubled while it is asked in vain: what was asked for needs a moment to come.
SHORTEST, LONGEST = 1.0, 64.0
# Seconds until it is looked again whether a tick that runs in this worker has taken what was made.
GRACE = 0.5
# Seconds at most that a tick waits for those of the later stages that it asked for: when it has begun with its items,
# the worker and Prefect's server are busy with these, and what comes last is what all of them wait for.
HEAD_START = 2.0
NEVER = -math.inf

# By event loop, since a lock belongs to one.
_asking = WeakKeyDictionary[asyncio.AbstractEventLoop, defaultdict[Stage, asyncio.Lock]]()

log = structlog.get_logger()


async def ask_for(stage: Stage) -> bool:
    """Ask Prefect for a run of the stage's deployment now, and do not wait for it; return whether one is to come.

    None is asked for beside one that is yet to begin, nor by two here at once; nor while the schedule is paused:
    whoever paused it does not want the stage to run.
    """
    name, here = FLOWS[stage], _asking.setdefault(asyncio.get_running_loop(), defaultdict(asyncio.Lock))
    async with here[stage], get_client() as client:
        found = await client.read_deployment_by_name(f"{name}/{name}")
        if found.paused or not any(schedule.active for schedule in found.schedules):
            return False
        if not await client.read_flow_runs(flow_run_filter=_yet_to_begin(found.id), limit=1):
            await client.create_flow_run_from_deployment(found.id)
    nudges.asked_for_a_run()
    return True


def _yet_to_begin(deployment_id: UUID) -> FlowRunFilter:
    """The runs whose time has come."""
    return FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])),
        expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )


class _Following:
    """A stage after a tick's own, and how it comes to run."""

    def __init__(self, run: Runtime, stage: Stage) -> None:
        self._run = run
        self._stage = stage
        self._asked = asyncio.Event()
        self._awaited_until = NEVER

    @property
    def is_awaited(self) -> bool:
        """It was asked for, may come to be here, and has not begun with its items yet."""
        return time.monotonic() < self._awaited_until and not nudges.is_ticking(self._stage)

    async def start_until(self, over: asyncio.Event) -> None:
        """Look in the beginning, since what is made comes soon; whenever something was made; and in the end."""
        pause = SHORTEST
        with nudges.listening(None, self._stage) as made:
            if nudges.is_catching_up(self._stage):
                made.set()  # to be looked at when that tick has what it takes
            else:
                await self._start(over)
            self._asked.set()
            while not over.is_set():
                await _either(made, over)
                if made.is_set():
                    made.clear()
                    pause = min(2 * pause, LONGEST) if await self._start(over) else SHORTEST
                    await _at_most(pause, over)
            if made.is_set():
                await self._start(over)

    async def begun(self) -> None:
        """Wait for the run that was asked for in the beginning, if one was and it may come to be here."""
        await self._asked.wait()
        if self.is_awaited:
            await nudges.tick_begun(self._stage)

    async def _start(self, over: asyncio.Event) -> bool:
        """Ask for a run if something waits for one, that no tick of the stage here takes; return whether it waits."""
        told = set[UUID]()
        while True:
            while nudges.is_catching_up(self._stage) and not over.is_set():
                await _at_most(GRACE, over)
            self._awaited_until = time.monotonic() + HEAD_START if nudges.is_polling() else NEVER
            waits = await self._run.database.run_statement(partial(stages.waits_for_tick, stage=self._stage))
            # What a tick does not take when it is told, it has left to one beside it: that needs another one.
            if waits is None or waits in told or not nudges.tell_ticks(self._stage, waits):
                break
            told.add(waits)
            if over.is_set():
                self._awaited_until = NEVER
                return True
        if waits is None or not await self._ask():
            self._awaited_until = NEVER
        return waits is not None

    async def _ask(self) -> bool:
        try:
            return await ask_for(self._stage)
        except (PrefectException, httpx.HTTPError) as error:
            log.warning("the next stage waits for its schedule", stage=self._stage, error=str(error))
            return False


@asynccontextmanager
async def started_when_needed(run: Runtime, stage: Stage) -> AsyncIterator[Callable[[], bool]]:
    """While a tick of `stage` runs: start the stages after it, where they have or will have work and do not run.

    Yields whether one of them was asked for, may come to be here, and has not begun with its items yet. Only for a run
    of a deployment; a tick that a person or a test awaits has no schedule beside it.
    """
    if deployment.get_id() is None:
        yield lambda: False
        return
    over = asyncio.Event()
    following = [_Following(run, each) for each in after(stage)]
    starting = [asyncio.create_task(each.start_until(over)) for each in following]
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAD_START):
                for each in following:
                    await each.begun()
        yield lambda: any(each.is_awaited for each in following)
        over.set()
        await asyncio.gather(*starting)
    finally:
        for start in starting:
            start.cancel()


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


async def _either(*events: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
