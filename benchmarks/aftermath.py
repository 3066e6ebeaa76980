"""What one contender makes of one fault, as the site and its processes show it."""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime

import httpx
import psutil
from sqlalchemy import text

from benchmarks.contenders import Contender, Load, Running
from benchmarks.faults import Fault, Scene, Server, alive
from benchmarks.ground import Outside, outside
from benchmarks.work import Job, make_world_now
from lib.database import Database

WARM, WARM_WITHIN = 20, 120.0  # comments before anything is measured
BEFORE, AFTER = 16.0, 20.0  # seconds of the windows: whole waves of model calls
AS_BEFORE = 0.95  # of the throughput before
TAIL = 0.1  # of the articles: what comes last comes slowly, since not all processes have work any more
ON_ITS_WAY = 1.0  # a comment that comes so soon after a fault was sent before it
# Seconds after the fault: what is not there by then is lost, unless comments still come; when nobody waits any more.
LATE, LONGEST = 150.0, 240.0
STILL = 20.0  # a comment in so many seconds: they still come
LOOK = 0.5
# Whoever takes what somebody else holds, whose lease must have ended: seconds since then.
WITNESS = (
    "CREATE TABLE bench_takeovers (late double precision)",
    """CREATE FUNCTION bench_take_over() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO bench_takeovers VALUES (extract(epoch FROM clock_timestamp() - OLD.lease_expires_at));
    RETURN NULL; END $$""",
    *(
        f"""CREATE TRIGGER bench_witness AFTER UPDATE ON {table} FOR EACH ROW
        WHEN (OLD.claim_token <> NEW.claim_token) EXECUTE FUNCTION bench_take_over()"""
        for table in ("ai_comments", "monitoring_process_stages")
    ),
)


@dataclass(frozen=True)
class Recovery:
    """What one contender made of one fault. Times in seconds after the fault's end; throughput in comments a second."""

    contender: str
    fault: str
    strikes: int
    before: float
    """At most what the model allows: comments that had waited to be posted are no pace that could be kept."""
    at_once: float
    """In the window that begins where the fault ends."""
    first: float | None
    """When the first comment came; None when none ever did."""
    again: float | None
    """In the window that begins with that comment, at most what the model allows; None where the work ran out in it."""
    back: float | None
    """When the first window began in which it was as good as before; None when none did before the work ran out."""
    takeovers: int
    latest: float
    """Of the takeovers, after the lease's end."""
    died: tuple[str, ...]
    """What ended though nobody killed it."""
    gone: tuple[str, ...]
    """What ran before and does not in the end: nobody started it again."""
    ended: bool
    """All had come, or none came any more."""
    seconds: float
    course: tuple[float, ...]
    """When the comments came, in seconds after the fault's beginning."""
    duplicates: int = 0
    missing: int = 0

    @property
    def lost(self) -> int:
        return self.missing if self.ended else 0

    @property
    def unfinished(self) -> int:
        """What was not there when nobody waited any more, though comments still came."""
        return 0 if self.ended else self.missing

    @property
    def pause(self) -> float:
        """The longest in which no comment came, from the fault's beginning on."""
        return max(
            (later - at for at, later in itertools.pairwise([0.0, *(at for at in self.course if at > 0)])), default=0.0
        )

    @property
    def percent(self) -> float | None:
        return None if self.again is None or not self.before else 100 * self.again / self.before


class Arrivals:
    """When each article's first comment came on the site: seconds since the epoch, on this machine's clock."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self.times: list[float] = []

    async def look(self) -> None:
        # The site is busy now and then.
        with contextlib.suppress(httpx.HTTPError):
            first: dict[int, float] = {}
            for each in await self._job.comments():
                at = datetime.fromisoformat(each["created_at"]).timestamp()
                first[each["article_id"]] = min(at, first.get(each["article_id"], at))
            self.times = sorted(first.values())

    async def until(self, number: int, deadline: float) -> bool:
        """Whether so many have come by then."""
        while True:
            await self.look()
            if len(self.times) >= number:
                return True
            if time.time() > deadline:
                return False
            await asyncio.sleep(LOOK)

    async def first_since(self, moment: float, deadline: float) -> float | None:
        while time.time() < deadline:
            await self.look()
            if later := [at for at in self.times if at >= moment]:
                return later[0]
            await asyncio.sleep(LOOK)
        return None

    def rate(self, begin: float, seconds: float) -> float:
        return sum(begin <= at < begin + seconds for at in self.times) / seconds

    def back(self, since: float, rate: float) -> float | None:
        """The first comment since then that begins a window with AS_BEFORE of that rate."""
        later = (at for at in self.times if at >= since)
        return next((at for at in later if self.rate(at, AFTER) >= AS_BEFORE * rate), None)

    def beyond(self, moment: float, number: int) -> bool:
        """Whether so many came after it: the work outlasted it."""
        return sum(at >= moment for at in self.times) >= number


class Deaths:
    """Which processes of a contender end, and which are not replaced."""

    def __init__(self, running: Running) -> None:
        self._running = running
        self._seen: dict[int, str] = {}
        self._before: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        self._before = self._look()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()

    def died(self, killed: set[int]) -> tuple[str, ...]:
        return tuple(sorted(name for pid, name in self._seen.items() if pid not in killed and not alive(pid)))

    def gone(self) -> tuple[str, ...]:
        return tuple(sorted((self._before - self._look()).elements()))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            self._look()

    def _look(self) -> Counter[str]:
        living: Counter[str] = Counter()
        with contextlib.suppress(psutil.Error, OSError):
            for name, pids in self._running.components().items():
                found = [pid for pid in pids if alive(pid)]
                living[name] = len(found)
                self._seen |= dict.fromkeys(found, name)
        return living


def measured(contender: Contender, fault: Fault, load: Load) -> Recovery:
    """On a ground of its own. What came twice or never is judged when nothing of the contender runs any more."""
    with outside(load.llm_seconds, load.page_seconds, load.at_once) as there, asyncio.Runner() as runner:
        server = Server(there.cluster)
        try:
            with contender.running(there) as running:
                job = runner.run(_prepared(there, load))
                found = runner.run(_struck(contender.name, fault, load, job, Scene(running, server), there))
                _end(running)
            return replace(found, duplicates=job.duplicates(), missing=job.lost())
        finally:
            runner.run(server.end())


def _end(running: Running) -> None:
    """Nothing of it is needed any more, and some finish what they have begun, which takes minutes."""
    for _ in range(2):  # whoever starts others again is gone in the second round
        for pid in [pid for pids in running.components().values() for pid in pids]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK)


async def _prepared(there: Outside, load: Load) -> Job:
    async with Database(there.database_url, pool_size=1) as database, database.session() as session:
        for statement in WITNESS:
            await session.execute(text(statement))
    return await make_world_now(there, load)


async def _struck(name: str, fault: Fault, load: Load, job: Job, scene: Scene, there: Outside) -> Recovery:
    began, total = time.monotonic(), len(job.appeared)
    tail = round(TAIL * total)
    arrivals, deaths = Arrivals(job), Deaths(scene.running)
    if not await arrivals.until(WARM, time.time() + WARM_WITHIN):
        raise RuntimeError(f"{name} posted {len(arrivals.times)} comments in {WARM_WITHIN:g} s, with nothing broken")
    await asyncio.sleep(BEFORE)
    async with deaths.watched():
        struck = time.time()
        await fault.strike(scene)
        over = time.time()
        first = await arrivals.first_since(over + ON_ITS_WAY, over + LATE)
        ended = await arrivals.until(total, over + LATE) or not await _still_come(arrivals, total, over + LONGEST)
    late = await _takeovers(there)
    most = load.at_once / load.llm_seconds
    before = min(arrivals.rate(struck - BEFORE, BEFORE), most)
    back = arrivals.back(over + ON_ITS_WAY, before)
    return Recovery(
        contender=name,
        fault=fault.name,
        strikes=scene.strikes,
        before=before,
        at_once=arrivals.rate(over, AFTER),
        first=None if first is None else first - over,
        again=None
        if first is None or not arrivals.beyond(first + AFTER, tail)
        else min(arrivals.rate(first, AFTER), most),
        back=None if back is None else back - over,
        takeovers=len(late),
        latest=max(late, default=0.0),
        died=deaths.died(scene.killed),
        gone=deaths.gone(),
        ended=ended,
        seconds=time.monotonic() - began,
        course=tuple(round(at - struck, 2) for at in arrivals.times),
    )


async def _still_come(arrivals: Arrivals, total: int, deadline: float) -> bool:
    """Whether the last of them has not come by the deadline, though there was no pause before it."""
    while time.time() < deadline:
        if await arrivals.until(total, time.time()) or arrivals.times[-1] < time.time() - STILL:
            return False
        await asyncio.sleep(LOOK)
    return True


async def _takeovers(there: Outside) -> list[float]:
    async with Database(there.database_url, pool_size=1) as database, database.session() as session:
        return list(await session.scalars(text("SELECT late FROM bench_takeovers")))
