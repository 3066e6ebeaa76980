"""Where records wait, and the thread that takes them to the database.

Whoever puts one never waits. What waits is bounded: first in memory, then in a file, then it is dropped and counted.
The order is kept: what is in the file is always older than what is in memory.
"""

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import structlog

from lib.database import Database, will_pass
from lib.taskwatch.line import Line
from lib.taskwatch.spill import Spill, left_behind
from lib.taskwatch.store.writing import Beat

Row = dict[str, Any]

log = structlog.get_logger()

# Seconds that changes are gathered. What begins and ends within them is one row written once, not twice.
FLUSH = 0.25
BATCH = 100  # changes: small, so that the interpreter is never held for long
IN_MEMORY = 10_000  # changes; from there on the older half goes to the file
AT_MOST = 4 * IN_MEMORY  # when the thread does not come round to it
BEAT = 5.0
WRITE_WITHIN = 10.0
SHORTEST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
# Attempts in a row after which a batch is suspected: of one that is refused, and of one that fails as if in passing.
TWICE, STUBBORN = 2, 5
ADOPT_EVERY = 60.0
EXIT = 2.0  # seconds that the end of the process may be held up
LAST_WORDS = 0.8  # of them, to write what is left
ONE_MORE = 0.4


class _Loop(asyncio.SelectorEventLoop):
    """Looks names up in its own thread: the helpers that asyncio starts for it would hold up the end of the process."""

    async def getaddrinfo(self, host: Any, port: Any, **more: Any) -> Any:
        return socket.getaddrinfo(host, port, **more)


class Writer:
    """One a process. `put` from any thread; `close` at the end."""

    def __init__(self, url: str, directory: Path, recorder_id: UUID) -> None:
        self.id = recorder_id
        self.dropped = 0
        self._url = url
        self._away = False
        self._trouble = ""
        self._directory = directory
        self._waiting: deque[Row] = deque()
        self._in_flight: list[Row] = []
        self._spill = Spill(directory, recorder_id)
        self._pid = os.getpid()
        self._host = socket.gethostname()
        self._awake = False
        self._closing = self._left = False
        self._deadline = float("inf")
        self._failures = 0
        self._last_beat = self._last_adoption = -float("inf")
        self._limit: asyncio.Timeout | None = None
        self._loop = _Loop()
        self._bell = asyncio.Event()
        self._full = asyncio.Event()
        self._thread = threading.Thread(target=self._live, name="task records", daemon=True)
        self._thread.start()

    def put(self, row: Row) -> None:
        """Take a change to the database, soon. The row is the writer's from here on."""
        number = len(self._waiting)
        if number >= AT_MOST or self._left:
            self.dropped += 1
            return
        self._waiting.append(row)
        if not self._awake:
            self._awake = True
            self._tell(self._bell.set)
        elif number == IN_MEMORY or (number > IN_MEMORY and number % BATCH == 0):
            self._tell(self._make_room)

    def close(self, seconds: float = EXIT) -> None:
        """Write what waits, for `seconds` at most; what is left then goes to the file."""
        if os.getpid() != self._pid or self._closing:
            return
        # Where the database is away already, one more attempt: who stopped this process may not wait for long.
        self._deadline = time.monotonic() + (ONE_MORE if self._away else seconds * LAST_WORDS)
        self._closing = True
        self._tell(self._hurry)
        self._thread.join(max(0.0, self._deadline + 0.2 - time.monotonic()))
        self._leave()

    def forget(self) -> None:
        """In a forked process, which has neither the thread nor the records."""
        self._spill.let_go()

    @property
    def waiting(self) -> int:
        """Changes that are not in the database yet."""
        return len(self._waiting) + len(self._in_flight) + self._spill.rows

    def _tell(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the end of the process takes care of the rest
            self._loop.call_soon_threadsafe(what)

    # In the thread from here on, but for `_leave`

    def _live(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._run())
        except Exception:  # the process's work goes on; what waits is bounded
            log.exception("task_records_not_written")

    async def _run(self) -> None:
        async with Database(self._url, pool_size=1) as database, contextlib.aclosing(Line(database)) as self._line:
            while not (self._closing and (self._nothing_left() or time.monotonic() >= self._deadline)):
                try:
                    if not self._nothing_left() or self._closing or await self._woken():
                        await self._gather()
                    await self._turn()
                except Exception:  # a defect; the next records may fare better
                    log.exception("task_records_trouble")
                    await asyncio.sleep(0 if self._closing else 1)

    def _nothing_left(self) -> bool:
        return not self._waiting and self._spill.empty

    async def _woken(self) -> bool:
        """Wait for a change, or for the time of a sign of life; True for a change."""
        wait = self._last_beat + BEAT - time.monotonic()
        if wait > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._bell.wait(), wait)
                return True
        return False

    async def _gather(self) -> None:
        if not self._closing and len(self._waiting) < BATCH:
            await asyncio.sleep(FLUSH)
        self._bell.clear()
        self._awake = False

    async def _turn(self) -> None:
        """Write everything that waits; where the database is away, pause in the end."""
        well = more = True
        while well and more and not self._nothing_left() and time.monotonic() < self._deadline:
            well = await (self._from_file(self._spill) if not self._spill.empty else self._from_memory())
            # A few that came meanwhile are gathered first: a statement costs more than what it carries.
            more = self._closing or not self._spill.empty or len(self._waiting) >= BATCH
        if well and time.monotonic() >= self._last_beat + BEAT:
            well = await self._beats()
        if well and not self._closing and time.monotonic() >= self._last_adoption + ADOPT_EVERY:
            await self._adopt()
        self._say(away=not well)
        if not well:
            await self._pause()

    def _say(self, *, away: bool) -> None:
        if away != self._away:
            self._away = away
            told = {"error": self._trouble} if away else {}
            log.warning("task_records_wait" if away else "task_records_written_again", waiting=self.waiting, **told)

    async def _from_memory(self) -> bool:
        self._in_flight = rows = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        well = False
        try:
            well = await self._deliver(_merged(rows))
        finally:
            self._in_flight = []
            if not well:
                self._waiting.extendleft(reversed(rows))
        self._move()
        return well

    async def _from_file(self, spill: Spill) -> bool:
        try:
            rows = spill.read(BATCH)
        except OSError as error:
            log.warning("task_records_unreadable", error=str(error))
            return False
        well = not rows or await self._deliver(_merged(rows))
        if well:
            spill.forget()
            self.dropped += spill.broken
            spill.broken = 0
        return well

    async def _adopt(self) -> None:
        """Write what dead recorders left."""
        self._last_adoption = time.monotonic()
        for spill in left_behind(self._directory):
            well = True
            while well and not spill.empty and not self._closing:
                well = await self._from_file(spill)
                if well and self._waiting:
                    well = await self._from_memory()  # what is new need not wait for what is old
            spill.close()
            if not well:
                return

    async def _deliver(self, rows: list[Row], *, suspected: bool = False) -> bool:
        """Write the rows; those that the database refuses for what they hold are dropped. False: it is away."""
        try:
            await self._attempt(rows)
        except Exception as error:  # noqa: BLE001 - what it was is found out by trying
            self._failures += 1
            self._trouble = f"{type(error).__name__}: {str(error)[:300]}"
            enough = STUBBORN if will_pass(error) else TWICE
            if (self._failures < enough and not suspected) or not await self._beats():
                return False
            return await self._apart(rows)
        self._failures = 0
        return True

    async def _apart(self, rows: list[Row]) -> bool:
        """The database works and does not take these: halve them until the culprit is alone."""
        if len(rows) == 1:
            self.dropped += 1
            self._failures = 0
            name, id_ = rows[0].get("task_name"), str(rows[0].get("id"))
            log.error("task_record_refused", task_name=name, id=id_, error=self._trouble)
            return True
        half = len(rows) // 2
        return await self._deliver(rows[:half], suspected=True) and await self._deliver(rows[half:], suspected=True)

    async def _beats(self) -> bool:
        """Whether the database takes a sign of life."""
        try:
            await self._attempt([])
        except Exception as error:  # noqa: BLE001 - it is away, or not ready yet
            self._trouble = f"{type(error).__name__}: {str(error)[:300]}"
            return False
        return True

    async def _attempt(self, rows: list[Row]) -> None:
        beat = Beat(
            recorder_id=self.id,
            host=self._host,
            pid=self._pid,
            dropped=self.dropped,
            waiting=len(self._waiting),
            spilled=self._spill.rows,
        )
        try:
            # Cut short when memory is full, and at the end of the process.
            async with asyncio.timeout(min(WRITE_WITHIN, self._deadline - time.monotonic())) as self._limit:
                await self._line.write(rows, beat)
        finally:
            self._limit = None
        self._last_beat = time.monotonic()

    async def _pause(self) -> None:
        seconds = min(SHORTEST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE)
        end = time.monotonic() + seconds
        while (left := min(end, self._deadline) - time.monotonic()) > 0:
            if self._closing:
                await asyncio.sleep(min(SHORTEST_PAUSE, left))
                return
            self._move()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), left)
        self._move()

    def _make_room(self) -> None:
        self._full.set()
        if len(self._waiting) >= 2 * IN_MEMORY:
            self._cut_short(0)

    def _hurry(self) -> None:
        self._bell.set()
        self._full.set()
        self._cut_short(max(0.0, self._deadline - time.monotonic()))

    def _cut_short(self, seconds: float) -> None:
        """End the present attempt in so many seconds."""
        with contextlib.suppress(RuntimeError):  # it ends already
            if self._limit is not None:
                self._limit.reschedule(self._loop.time() + seconds)

    def _move(self) -> None:
        """From memory to the file, the older half, while there is more than enough of it."""
        if not self._closing:
            self._full.clear()
        if len(self._waiting) > IN_MEMORY:
            self._to_file(len(self._waiting) - IN_MEMORY // 2)

    def _to_file(self, number: int) -> None:
        """What the file does not take for being full is dropped; what it cannot take now stays in memory."""
        rows = [self._waiting.popleft() for _ in range(min(number, len(self._waiting)))]
        try:
            taken = self._spill.append(rows)
        except OSError as error:
            log.warning("task_records_not_spilled", error=str(error))
            self._waiting.extendleft(reversed(rows))
            return
        self.dropped += len(rows) - taken

    def _leave(self) -> None:
        """What could not be written waits in the file for the next recorder."""
        self._left = True
        self._waiting.extendleft(reversed(self._in_flight))
        if self._waiting:
            self._to_file(len(self._waiting))
        self.dropped += len(self._waiting)
        if self.dropped:
            log.error("task_records_dropped", number=self.dropped)
        self._spill.close()


def _merged(rows: Sequence[Row]) -> list[Row]:
    """Each record once, as its latest change has it and where its first one is."""
    records: dict[Any, Row] = {}
    for row in rows:
        earlier = records.get(row["id"])
        records[row["id"]] = row if earlier is None else earlier | row
    return list(records.values())
