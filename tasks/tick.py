"""One tick of a stage: claim the processes that have work for it, serve them all at once, note how it went."""

import asyncio
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


@dataclass
class Tick:
    """The processes that this tick has claimed for its stage, and what became of them."""

    stage: Stage
    run: Runtime
    token: UUID
    processes: tuple[ProcessRef, ...]
    skipped: tuple[ProcessRef, ...]
    tagged: bool
    """Each task run of a process carries the process's own tag."""
    reports: list[StageReport] = field(default_factory=list)
    unexpected: list[Exception] = field(default_factory=list)

    async def each(self, task: StageTask, *more: Callable[[ProcessRef], Any]) -> None:
        """Run the task for every process at once, with what `more` makes of the process as further arguments."""
        await asyncio.gather(*(self._one(task, process, more) for process in self.processes))

    @property
    def report(self) -> TickReport:
        return TickReport(self.stage, tuple(self.reports), self.skipped)

    async def _one(self, task: StageTask, process: ProcessRef, more: tuple[Callable[[ProcessRef], Any], ...]) -> None:
        report, error = StageReport(process.id, process.name), None
        try:
            report = await self._named(task, process)(process, *(make(process) for make in more))
        except Exception as trouble:  # noqa: BLE001 - raised by the tick when every process had its turn
            error = f"{type(trouble).__name__}: {trouble}"
            self.unexpected.append(trouble)
        except asyncio.CancelledError:
            await asyncio.shield(self._finish(report, "cancelled"))
            raise
        self.reports.append(report)
        await self._finish(report, error)

    def _named(self, task: StageTask, process: ProcessRef) -> StageTask:
        return task.with_options(
            # A template: the braces in a person's own words are no places in it.
            task_run_name=f"{self.stage} of {process.name}".replace("{", "{{").replace("}", "}}"),
            tags=[f"process:{process.id}"] if self.tagged else [],
        )

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
        token = work.new_id()

        async def claim() -> list[ProcessRef]:
            async with run.database.session() as session:
                return await stages.claim_stages(
                    session, stage, process_id, token, run.settings.stage_lease, flow_run.get_id()
                )

        async def few_run() -> bool:
            # Every distinct tag costs this process a thread and a socket for good.
            async with run.database.alone() as connection:
                return not await processes.more_run_than(connection, run.settings.tag_limit_processes)

        found = await persistently(claim)
        mine = tuple(process for process in found if process.skipped is None)
        skipped = tuple(process for process in found if process.skipped)
        this = Tick(stage, run, token, mine, skipped, bool(mine) and await persistently(few_run))
        keeping = run.keeper.keeping(ProcessStage, token, run.settings.stage_lease)
        async with started_when_needed(run, stage) if mine else nullcontext():
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
