"""One tick of a stage: claim the processes that have work for it, serve them all at once, note how it went."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from prefect import Task
from prefect.artifacts import acreate_table_artifact
from prefect.runtime import flow_run

from lib import work
from lib.database import persistently
from lib.monitoring import nudges
from lib.monitoring.items import ProcessRef, StageReport, TickReport
from lib.monitoring.models import ProcessStage
from lib.monitoring.runtime import Runtime, opened
from lib.monitoring.stages import Stage
from lib.monitoring.store import processes, stages
from tasks.next_stage import started_when_needed

StageTask = Task[..., Any]

# Seconds until a process that got work while others are served is served too.
LOOK = 0.2


@dataclass
class Tick:
    """The processes that this tick has claimed for its stage, and what became of them."""

    stage: Stage
    run: Runtime
    process_id: UUID | None
    """The only one that it may claim."""
    token: UUID = field(default_factory=work.new_id)
    processes: tuple[ProcessRef, ...] = ()
    skipped: tuple[ProcessRef, ...] = ()
    tagged: bool = False
    """Each process has a task run, with its own tag."""
    reports: list[StageReport] = field(default_factory=list)
    unexpected: list[Exception] = field(default_factory=list)

    async def begin(self) -> None:
        """Claim every process that has work now."""
        found = await self._claim()
        self.processes = tuple(process for process in found if process.skipped is None)
        self.skipped = tuple(process for process in found if process.skipped)
        self.tagged = bool(self.processes) and await persistently(self._few_run)

    async def each(self, task: StageTask, *more: Callable[[ProcessRef], Any]) -> None:
        """Run the task for every process at once, with what `more` makes of the process as further arguments.

        Until the next tick is due, others that get work meanwhile are served too, each process once.
        """
        until = time.monotonic() + self.run.settings.stage_interval
        serving = {asyncio.create_task(self._one(task, process, more)) for process in self.processes}
        with nudges.listening(None, self.stage) as made:
            try:
                while serving:
                    ended, serving = await asyncio.wait(serving, timeout=LOOK)
                    self.unexpected += [error for each in ended if isinstance(error := each.exception(), Exception)]
                    if made.is_set() and self.process_id is None and time.monotonic() < until:
                        made.clear()
                        further = await self._further()
                        serving |= {asyncio.create_task(self._one(task, process, more)) for process in further}
            finally:
                for each in serving:
                    each.cancel()
                await asyncio.gather(*serving, return_exceptions=True)

    @property
    def report(self) -> TickReport:
        return TickReport(self.stage, tuple(self.reports), self.skipped)

    async def _claim(self) -> list[ProcessRef]:
        served = [process.id for process in self.processes]

        async def claim() -> list[ProcessRef]:
            async with self.run.database.session() as session:
                return await stages.claim_stages(
                    session,
                    self.stage,
                    self.process_id,
                    self.token,
                    self.run.settings.stage_lease,
                    flow_run.get_id(),
                    but=served,
                )

        return await persistently(claim)

    async def _further(self) -> tuple[ProcessRef, ...]:
        further = tuple(process for process in await self._claim() if process.skipped is None)
        self.processes += further
        return further

    async def _few_run(self) -> bool:
        # Every distinct tag costs this process a thread and a socket for good, a task run Prefect's server its time.
        async with self.run.database.alone() as connection:
            return not await processes.more_run_than(connection, self.run.settings.tag_limit_processes)

    async def _one(self, task: StageTask, process: ProcessRef, more: tuple[Callable[[ProcessRef], Any], ...]) -> None:
        report, error = StageReport(process.id, process.name), None
        serve = task.with_options(tags=[f"process:{process.id}"]) if self.tagged else task.fn
        try:
            report = await serve(process, *(make(process) for make in more))
        except Exception as trouble:  # noqa: BLE001 - raised by the tick when every process had its turn
            error = f"{type(trouble).__name__}: {trouble}"
            self.unexpected.append(trouble)
        except asyncio.CancelledError:
            await asyncio.shield(self._finish(report, "cancelled"))
            raise
        self.reports.append(report)
        await self._finish(report, error)

    async def _finish(self, report: StageReport, error: str | None) -> None:
        async def write() -> None:
            async with self.run.database.alone() as connection:
                await stages.finish_stage(connection, self.stage, self.token, report, error)

        await persistently(write)
        nudges.ended(self.stage, report.process_id)


@asynccontextmanager
async def tick(stage: Stage, process_id: UUID | None) -> AsyncIterator[Tick]:
    """Open the runtime, claim, and in the end note the tick; raise the first unexpected error then."""
    async with opened() as run:
        this = Tick(stage, run, process_id)
        await this.begin()
        keeping = run.keeper.keeping(ProcessStage, this.token, run.settings.stage_lease)
        async with started_when_needed(run, stage) if this.processes else nullcontext():
            with keeping:
                yield this
        await _note(this)
        if this.unexpected:
            raise this.unexpected[0]


async def _note(this: Tick) -> None:
    error = str(this.unexpected[0]) if this.unexpected else None

    async def write() -> None:
        async with this.run.database.alone() as connection:
            await stages.note_tick(connection, this.stage, error)

    await persistently(write)
    if this.reports or this.skipped:
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
    skipped = [{"process": process.name, "note": f"skipped: {process.skipped}"} for process in this.skipped]
    return [*served, *skipped]
