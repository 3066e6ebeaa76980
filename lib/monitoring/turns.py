"""The loop of a stage: take an item, attempt it, settle what became of it, until nothing is left."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncSession

from lib.database import will_pass
from lib.errors import OutcomeUnknown, Permanent, PressroomError, Refused, Transient
from lib.monitoring import nudges
from lib.monitoring.items import Claimed, ProcessRef, StageReport, Wait
from lib.monitoring.models import AIComment
from lib.monitoring.runtime import NO_PROGRESS, progress, runtime
from lib.monitoring.stages import Stage
from lib.monitoring.store import comments, stages
from lib.units import failed
from lib.work import crashed_too_often


class _Taken(Protocol):
    @property
    def is_last(self) -> bool:
        """Nothing else waited when it was taken."""


Item = TypeVar("Item", bound=_Taken)
_free_slot: ContextVar[Callable[[], None]] = ContextVar("free_slot", default=lambda: None)
# What is written in the same transaction as a settle.
Also = Callable[[AsyncSession], Awaitable[None]]

# Seconds until it is looked again for what an earlier stage makes: doubled while nothing comes, ended by a nudge.
POLL = 0.5
LONGEST_SLEEP = 5.0
# So many failures in a row are the other side's trouble: leave the rest for a later tick.
TROUBLE = 5
ERRORS_SHOWN = 20


@dataclass(frozen=True)
class Outcome:
    """What became of the comments of one turn. `stop`: further ones would meet the same refusal."""

    done: int = 0
    failed: int = 0
    retried: int = 0
    error: str | None = None
    stop: bool = False


async def attempt(stage: Stage, claims: Sequence[Claimed], do: Callable[[], Awaitable[Outcome]]) -> Outcome:
    """Run `do` while the claims' lease is renewed; settle an expected failure, which is a value from here on.

    An unexpected exception counts as a failed attempt too, so that it cannot repeat for ever. It goes on upwards, but
    for that of a database that was away.
    """
    run = runtime()
    first = claims[0]
    ids = [claim.id for claim in claims]
    with run.keeper.keeping(AIComment.id, ids, first.token, run.settings.item_lease):
        try:
            if crashed_too_often(first.attempts, first.failures):
                unknown = "Outcome unknown: " if stage == "posting" else ""
                died = Permanent(f"{unknown}The worker died over this again and again")
                return await settle_failure(stage, claims, died)
            return await do()
        except asyncio.CancelledError:
            # Where the effect can be had again, the next run need not wait for the lease to expire.
            if stage != "posting":
                await asyncio.shield(hand_back(claims))
            raise
        except PressroomError as error:
            return await settle_failure(stage, claims, error)
        except Exception as error:
            # A post may have gone out before it: then it needs its time to arrive.
            again = OutcomeUnknown if stage == "posting" else Transient
            outcome = await settle_failure(stage, claims, again(f"Unexpected {type(error).__name__}: {error}"))
            if will_pass(error):
                return outcome
            raise


async def settle_failure(
    stage: Stage, claims: Sequence[Claimed], error: PressroomError, also: Also | None = None
) -> Outcome:
    run = runtime()
    failed(error)

    async def write(session: AsyncSession) -> tuple[int, int]:
        if also is not None:
            await also(session)
        return await comments.settle_failed(session, stage, claims, error, run.policy)

    dead, again = await run.database.run_transaction(write)
    return Outcome(failed=dead, retried=again, error=str(error), stop=isinstance(error, Refused))


async def settle_done(stage: Stage, claims: Sequence[Claimed], *, now: Sequence[str] = (), **values: Any) -> Outcome:
    """Write the result, and let the next item begin; `now` names the columns that get the database's time."""
    done = await runtime().database.run_statement(
        lambda connection: comments.settle_done(connection, stage, claims, now=now, **values)
    )
    return settled(stage, claims, done)


def settled(stage: Stage, claims: Sequence[Claimed], done: int) -> Outcome:
    """The result is written: let the next item begin, and the next stage know."""
    free_slot()
    nudges.made(stage, {claim.process_id for claim in claims})
    return Outcome(done=done)


async def hand_back(claims: Sequence[Claimed]) -> None:
    """Release what was not begun or may be begun again, when the run is cancelled."""
    run = runtime()
    async with run.database.session() as session:
        await comments.release(session, claims)


def free_slot() -> None:
    """What `slots` bounds is over for the present item: another may begin while this one is settled."""
    _free_slot.get()()


class _Slot:
    """One place of a semaphore, given back once."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots: asyncio.Semaphore | None = slots

    def free(self) -> None:
        if self._slots is not None:
            self._slots.release()
            self._slots = None


class Turns(Generic[Item]):
    """Takes items of one process one by one and works on as many at once as `slots` allows.

    Goes on while an earlier stage runs for the process, so that what that makes is worked on in the same tick.
    Several processes may share `slots`; it is first come, first served, and every process stands in that line once,
    which makes the shares fair.
    """

    def __init__(
        self,
        stage: Stage,
        process: ProcessRef,
        take: Callable[[], Awaitable[Item | Wait | None]],
        do: Callable[[Item], Awaitable[Outcome]],
        slots: asyncio.Semaphore,
    ) -> None:
        self._stage = stage
        self._process = process
        self._take = take
        self._do = do
        self._slots = slots
        self._at_work: set[asyncio.Task[None]] = set()
        self._unexpected: list[Exception] = []
        self._nudged = nudges.Ear()
        self._nothing_waits = False
        self._poll = POLL
        self._in_a_row = 0
        self._stopped = False
        self._report = StageReport(process.id, process.name)

    async def run(self) -> StageReport:
        """Raises the first unexpected error, after all other items had their turn."""
        began = time.monotonic()
        await self._tell_how_many()
        try:
            with nudges.listening(self._process.id, self._stage) as self._nudged:
                while not self._stopped and await self._turn():
                    pass
            await self._finish(asyncio.ALL_COMPLETED)
        finally:
            for task in self._at_work:
                task.cancel()
            await asyncio.gather(*self._at_work, return_exceptions=True)
        if self._unexpected:
            raise self._unexpected[0]
        return replace(self._report, seconds=time.monotonic() - began)

    async def _tell_how_many(self) -> None:
        if progress.get() is NO_PROGRESS:
            return
        waiting = await runtime().database.run_transaction(
            lambda session: stages.waiting_count(session, self._stage, [self._process.id])
        )
        progress.get().more(waiting)

    async def _turn(self) -> bool:
        """Take and start one item, or wait for one; False when there is nothing left to come."""
        await self._slots.acquire()
        if self._nudged.hear():
            self._nothing_waits = False
        item: Item | Wait | None = None
        more = False
        try:
            if not self._stopped:
                # Before the look: what the earlier stage makes last, it has made when it no longer runs.
                more = bool(self._at_work) or await self._upstream_runs()
                # Not while the last is at work: who makes more here says so, and after a rest it is looked again.
                if not (more and self._nothing_waits):
                    item = await self._take()
                    self._nothing_waits = not isinstance(item, Wait) and (item is None or item.is_last)
        finally:
            if item is None or isinstance(item, Wait):
                self._slots.release()
        if isinstance(item, Wait):
            await self._finish(asyncio.FIRST_COMPLETED, min(item.seconds, LONGEST_SLEEP))
            return True
        if item is None and more:
            await self._rest()
        elif item is not None:
            self._start(item)
        return more or item is not None

    def _start(self, item: Item) -> None:
        self._poll = POLL
        task = asyncio.create_task(self._work(item))
        self._at_work.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._at_work.discard(task)
        if not self._at_work:
            self._nudged.set()

    async def _work(self, item: Item) -> None:
        slot = _Slot(self._slots)
        _free_slot.set(slot.free)
        try:
            self._note(await self._do(item))
        except Exception as error:  # noqa: BLE001 - raised again when the others had their turn
            self._unexpected.append(error)
            self._in_trouble()
        finally:
            slot.free()
            progress.get().done()

    def _note(self, outcome: Outcome) -> None:
        have = self._report
        shown = (outcome.error,) if outcome.error and len(have.errors) < ERRORS_SHOWN else ()
        self._report = replace(
            have,
            done=have.done + outcome.done,
            failed=have.failed + outcome.failed,
            retried=have.retried + outcome.retried,
            errors=have.errors + shown,
        )
        if outcome.error:
            self._nudged.tell()  # it may come back at once
        if outcome.stop:
            self._stop(f"stopped early: {outcome.error}")
        elif outcome.retried:
            self._in_trouble()
        else:
            self._in_a_row = 0

    def _in_trouble(self) -> None:
        self._in_a_row += 1
        if self._in_a_row >= TROUBLE:
            self._stop(f"{TROUBLE} failures in a row: the rest waits for a later tick")

    def _stop(self, why: str) -> None:
        self._stopped = True
        self._nudged.set()
        self._report = replace(self._report, note=why)

    async def _upstream_runs(self) -> bool:
        """Whether an earlier stage may make more, here or in another worker."""
        return self._runs_here() or await runtime().database.run_statement(
            lambda connection: stages.upstream_runs(connection, self._stage, self._process.id)
        )

    def _runs_here(self) -> bool:
        """An earlier stage, which says when it has made something."""
        return nudges.upstream_runs(self._process.id, self._stage)

    async def _rest(self) -> None:
        """Until an earlier stage says something, an item comes back or the last is done, or it is time to look."""
        try:
            await asyncio.wait_for(self._nudged.wait(), LONGEST_SLEEP if self._runs_here() else self._poll)
        except TimeoutError:
            self._nothing_waits = False
        self._poll = min(2 * self._poll, LONGEST_SLEEP)

    async def _finish(self, when: str, seconds: float | None = None) -> None:
        if self._at_work:
            await asyncio.wait(self._at_work, timeout=seconds, return_when=when)
        elif seconds is not None:
            await asyncio.sleep(seconds)


def merged(process: ProcessRef, reports: Sequence[StageReport]) -> StageReport:
    """One report of several about the same process, which ran at the same time."""
    return StageReport(
        process.id,
        process.name,
        done=sum(report.done for report in reports),
        failed=sum(report.failed for report in reports),
        retried=sum(report.retried for report in reports),
        note="; ".join(dict.fromkeys(report.note for report in reports if report.note)),
        seconds=max((report.seconds for report in reports), default=0.0),
        errors=tuple(error for report in reports for error in report.errors)[:ERRORS_SHOWN],
    )
