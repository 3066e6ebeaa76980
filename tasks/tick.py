"""One tick of a stage: claim the processes that have work for it, serve them all at once, note how it went."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from prefect import Task
from prefect.artifacts import acreate_table_artifact
from prefect.runtime import flow_run
from sqlalchemy.ext.asyncio import AsyncConnection

from lib import work
from lib.monitoring import nudges
from lib.monitoring.items import ProcessRef, StageReport, TickReport
from lib.monitoring.models import ProcessStage
from lib.monitoring.runtime import Runtime, opened
from lib.monitoring.stages import Stage
from lib.monitoring.store import processes, stages
from tasks.next_stage import started_when_needed

StageTask = Task[..., Any]
# Of processes that were claimed together, by their ids.
Read = Callable[[Sequence[ProcessRef]], Awaitable[Mapping[UUID, Any]]]

# So many processes are claimed at once, and further ones so many seconds later: what one tick has not claimed yet, that
# of another worker may.
AT_ONCE = 10
LOOK = 0.2
# So many seconds at most the next tick of a stage comes late.
LATE = 5.0


@dataclass(frozen=True)
class Claimed:
    """Processes whose stage was claimed at once, and the token of that claim."""

    token: UUID
    processes: tuple[ProcessRef, ...] = ()
    skipped: tuple[ProcessRef, ...] = ()

    @property
    def at(self) -> datetime | None:
        return next((process.claimed_at for process in self.processes), None)

    @property
    def is_full(self) -> bool:
        """There may be more."""
        return len(self.processes) == AT_ONCE


@dataclass(eq=False)
class Tick:
    """What this tick has claimed for its stage, and what became of it."""

    stage: Stage
    run: Runtime
    process_id: UUID | None
    """The only one that it may claim."""
    made: nudges.Ear
    """Set when the stage before has made something."""
    until: float = math.inf
    """When it no longer claims what is made meanwhile; of `time.monotonic`."""
    more: bool = True
    """Its claim was full or is on its way: what waits may be claimed by it."""
    first: Claimed = field(default_factory=lambda: Claimed(work.new_id()))
    tagged: bool = False
    """Each process has a task run, with its own tag."""
    is_awaiting: Callable[[], bool] = lambda: False
    """Whether a later stage was asked for that has not begun yet: what is made first should not wait for the rest."""
    served: set[UUID] = field(default_factory=set)
    reports: list[StageReport] = field(default_factory=list)
    unexpected: list[Exception] = field(default_factory=list)

    async def each(self, task: StageTask, read: Read | None = None) -> None:
        """Run the task for every process, with what `read` finds of it as a further argument.

        Those too that have work beyond the first claim and, until the next tick is here, those that get some meanwhile;
        each process once, whether by this tick or by one beside it. While a later stage is about to begin, none are
        added to those that keep this worker busy.
        """
        self.until = time.monotonic() + self.run.settings.stage_interval + LATE
        self.more = self.first.is_full and self.process_id is None
        serving = {asyncio.create_task(self._serve(self.first, task, read))}
        with nudges.ticking(self.stage):
            try:
                while serving or self.takes:
                    if serving:
                        ended, serving = await asyncio.wait(serving, timeout=LOOK)
                        self.unexpected += _unexpected(each.exception() for each in ended)
                    if self.takes and not (serving and self.is_awaiting()):
                        self.made.clear()
                        self.more = True
                        claimed = await claim(self.run, self.stage, None, since=self.first.at)
                        self.more = claimed.is_full
                        serving.add(asyncio.create_task(self._serve(claimed, task, read)))
            finally:
                self.more, self.until = False, -math.inf
                for each in serving:
                    each.cancel()
                await asyncio.gather(*serving, return_exceptions=True)

    @property
    def takes(self) -> bool:
        """It claims what waits now, and needs no other tick beside it."""
        return self.more or (self.made.is_set() and self.is_open)

    @property
    def is_open(self) -> bool:
        """It claims what is made now, as no later tick of the stage is here yet."""
        return time.monotonic() < self.until and nudges.is_latest(self.stage, self)

    def tell(self, process_id: UUID) -> bool:
        """Have it claim what waits; return whether it may claim that of this process."""
        if process_id in self.served:
            return False
        if self.is_open:
            self.made.set()
        return self.takes

    @property
    def report(self) -> TickReport:
        return TickReport(self.stage, tuple(self.reports), self.first.skipped)

    async def _serve(self, claimed: Claimed, task: StageTask, read: Read | None) -> None:
        processes = claimed.processes
        ids, lease = [process.id for process in processes], self.run.settings.stage_lease
        self.served.update(ids)
        with self.run.keeper.keeping(ProcessStage.monitoring_process_id, ids, claimed.token, lease):
            found = await read(processes) if read is not None and processes else {}
            each = [self._one(claimed.token, task, process, found) for process in processes]
            ended = await asyncio.gather(*each, return_exceptions=True)
        self.unexpected += _unexpected(ended)

    async def _one(self, token: UUID, task: StageTask, process: ProcessRef, found: Mapping[UUID, Any]) -> None:
        report, error = StageReport(process.id, process.name), None
        serve = task.with_options(tags=[f"process:{process.id}"]) if self.tagged else task.fn
        with nudges.serving(process.id, self.stage):
            try:
                report = await serve(process, *([found[process.id]] if found else []))
            except Exception as trouble:  # noqa: BLE001 - raised by the tick when every process had its turn
                error = f"{type(trouble).__name__}: {trouble}"
                self.unexpected.append(trouble)
            except asyncio.CancelledError:
                await asyncio.shield(self._finish(token, report, "cancelled"))
                raise
            self.reports.append(report)
            await self._finish(token, report, error)

    async def _finish(self, token: UUID, report: StageReport, error: str | None) -> None:
        await self.run.database.run_statement(
            lambda connection: stages.finish_stage(connection, self.stage, token, report, error)
        )


@asynccontextmanager
async def tick(stage: Stage, process_id: UUID | None) -> AsyncIterator[Tick]:
    """Open the runtime, claim, and in the end note the tick; raise the first unexpected error then."""
    async with opened() as run:
        with nudges.listening(None, stage) as made:
            this = Tick(stage, run, process_id, made)
            with nudges.catching_up(stage, this) if process_id is None else nullcontext():
                this.first = await claim(run, stage, process_id)
                if this.first.processes:
                    this.tagged = await few_run(run)
                    async with started_when_needed(run, stage) as this.is_awaiting:
                        yield this
                else:
                    yield this
        await _note(this)
        if this.unexpected:
            raise this.unexpected[0]


async def claim(run: Runtime, stage: Stage, process_id: UUID | None, since: datetime | None = None) -> Claimed:
    """Claim the stage of some processes that have work for it, or of the one."""

    async def take(connection: AsyncConnection) -> tuple[UUID, list[ProcessRef]]:
        # A token of its own for each attempt: what an attempt claimed whose answer was lost is free after its lease.
        token = work.new_id()
        return token, await stages.claim_stages(
            connection, stage, process_id, token, run.settings.stage_lease, flow_run.get_id(), AT_ONCE, since
        )

    token, found = await run.database.run_statement(take)
    return Claimed(
        token,
        tuple(process for process in found if process.skipped is None),
        tuple(process for process in found if process.skipped),
    )


def _unexpected(ended: Iterable[object]) -> list[Exception]:
    return [each for each in ended if isinstance(each, Exception)]


async def few_run(run: Runtime) -> bool:
    """Every distinct tag costs this process a thread and a socket for good, a task run Prefect's server its time."""
    return not await run.database.run_statement(
        lambda connection: processes.more_run_than(connection, run.settings.tag_limit_processes)
    )


async def _note(this: Tick) -> None:
    error = str(this.unexpected[0]) if this.unexpected else None
    await this.run.database.run_statement(lambda connection: stages.note_tick(connection, this.stage, error))
    if this.reports or this.first.skipped:
        await acreate_table_artifact(
            key=f"{this.stage}-report", table=_rows(this), description=f"What one tick of {this.stage} did."
        )


def _rows(this: Tick) -> list[dict[str, Any]]:
    served = [
        {
            "process": report.process,
            "done": report.done,
            "failed": report.failed,
            "again later": report.retried,
            "seconds": round(report.seconds, 1),
            "note": report.note or next(iter(report.errors), ""),
        }
        for report in this.reports
    ]
    skipped = [{"process": process.name, "note": f"skipped: {process.skipped}"} for process in this.first.skipped]
    return [*served, *skipped]
