"""Trying again what failed, from the records of the tasks: what that would do, and doing it as it was agreed to.

A record tells of the past. What can be tried again is what it worked on, as that is now: a comment that failed goes
back to where it failed, one that waits after an error is tried at once, and a stage that failed for a process that
runs is run. Nothing goes out twice: posting reads back first wherever something may have been sent.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from console.desk import runs, trail
from console.desk.visit import Visit
from lib.errors import Invalid, PressroomError, Stale
from lib.monitoring.stages import FLOWS, Stage
from lib.monitoring.store import again, decisions, processes
from lib.monitoring.store.again import Possible
from lib.taskwatch.store import retrying
from lib.taskwatch.store.history import Filter
from lib.taskwatch.store.retrying import MOST, Target

__all__ = ["MOST", "Plan", "Run", "Wanted", "plan", "retry"]

MOST_CHOSEN = 200
# What a stage does as a whole, and where a process's part of it has no item of its own.
STAGE_OF: dict[str, Stage] = {flow: stage for stage, flow in FLOWS.items()} | {
    "discover_process": "discovery",
    "look_at_index": "discovery",
    "prepare_process": "preparation",
    "generate_for_process": "generation",
    "post_for_process": "posting",
}


@dataclass(frozen=True)
class Wanted:
    """These records, or all that match the filter. Of either only what failed counts."""

    ids: tuple[UUID, ...] | None
    filter: Filter


@dataclass(frozen=True)
class Run:
    """A stage to run now, for one process by id and name, or (None) for every one that runs."""

    stage: Stage
    process_id: UUID | None
    process: str | None


@dataclass(frozen=True)
class Plan:
    """What trying again comes to. `records` failed, and as many as `left` of them cannot be tried again.

    `capped`: there are more records than are looked at at once. `sent`: of the comments, how many are read back first.
    """

    records: int
    capped: bool
    possible: Possible
    runs: tuple[Run, ...]
    left: int

    @property
    def comments(self) -> int:
        return len(self.possible.all)

    @property
    def sent(self) -> int:
        return len(self.possible.sent)

    @property
    def something(self) -> bool:
        return bool(self.comments or self.runs)

    @property
    def mark(self) -> str:
        """What a person confirms: the numbers that they saw."""
        return f"{self.comments}-{self.sent}-{len(self.runs)}-{self.left}"


@dataclass(frozen=True)
class Retried:
    """What was done. `refused`: why a stage could not be run."""

    comments: int
    sent: int
    runs: int
    refused: tuple[str, ...]


async def plan(visit: Visit, wanted: Wanted) -> Plan:
    async with visit.database.session() as session:
        return await _plan(session, visit, wanted)


async def _plan(session: AsyncSession, visit: Visit, wanted: Wanted) -> Plan:
    if wanted.ids is not None and len(wanted.ids) > MOST_CHOSEN:
        raise Invalid(f"At most {MOST_CHOSEN} records can be selected at once")
    targets, capped = await retrying.targets(session, visit.sees, wanted.filter, wanted.ids)
    items = {target.item_id for target in targets if target.item_id is not None}
    possible = await again.possible(session, visit.sees, items)
    runs = await _runs(session, visit, [target for target in targets if target.item_id is None])
    pairs = {(run.stage, run.process_id) for run in runs}
    left = sum(target.records for target in targets if not _is_tried(target, possible.all, pairs))
    return Plan(sum(target.records for target in targets), capped, possible, runs, left)


def _is_tried(target: Target, comments: Collection[UUID], runs: Collection[tuple[Stage, UUID | None]]) -> bool:
    if target.item_id is not None:
        return target.item_id in comments
    stage = STAGE_OF.get(target.task_name)
    return stage is not None and (stage, target.process_id) in runs


async def _runs(session: AsyncSession, visit: Visit, targets: Sequence[Target]) -> tuple[Run, ...]:
    """Each stage once a process, of processes that run; a stage of every process is an administrator's to run."""
    wanted = {(STAGE_OF[each.task_name], each.process_id) for each in targets if each.task_name in STAGE_OF}
    if not wanted:
        return ()
    running = {row.id: row.name for row in await processes.listed(session, visit.sees) if row.status == "running"}
    found = [Run(stage, id_, running[id_]) for stage, id_ in wanted if id_ in running]
    if visit.sees is None:
        found += [Run(stage, None, None) for stage, id_ in wanted if id_ is None]
    return tuple(sorted(found, key=lambda run: (run.process or "", run.stage)))


async def retry(visit: Visit, wanted: Wanted, confirmed: str) -> Retried:
    """Do what the plan with the mark `confirmed` says. Raise Stale when it would be something else by now."""
    async with visit.database.session() as session:
        now = await _plan(session, visit, wanted)
        _as_confirmed(now.mark, confirmed)
        await decisions.act_as(session, visit.user_id)
        done = await again.again(session, visit.sees, now.possible)
        if set(done.changed) != now.possible.all:
            raise Stale(_CHANGED)
        if done.changed:
            details = {"records": now.records, "retried": len(done.changed), "sent_before": len(done.sent)}
            await trail.note(session, visit, "comment.retry", None, details)
    refused = [why for run in now.runs if (why := await _run(visit, run)) is not None]
    return Retried(len(done.changed), len(done.sent), len(now.runs) - len(refused), tuple(dict.fromkeys(refused)))


_CHANGED = "What would be tried again has changed; look again"


def _as_confirmed(now: str, confirmed: str) -> None:
    if now != confirmed:
        raise Stale(_CHANGED)


async def _run(visit: Visit, run: Run) -> str | None:
    """None when it was asked for, else why not."""
    try:
        await runs.run_stage(visit, None if run.process_id is None else str(run.process_id), run.stage)
    except PressroomError as error:
        return str(error)
    return None
