"""The storm: workers killed at chosen moments, a site that fails in every way, a database that goes away."""

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from lib.database import will_pass
from tests.chaos.crew import Crew
from tests.chaos.ground import ENDS, Ground
from tests.chaos.person import Person

RANDOM = "at random"
MOMENTS = ("before_accept", "after_accept", "after_answer")
# Where a new worker meets its end, and how often.
FATES = {"comment": 58, "article": 10, "index": 6, "login": 6, "llm": 8, RANDOM: 12}
WATCH = 0.2
FAULTS_KEPT = 150

# The delay before a comment is accepted outlasts the time-out, but not the wait for what has no answer.
WEATHER: tuple[dict[str, Any], ...] = (
    {"kind": "drop_before", "route": "comment"},
    {"kind": "drop_after", "route": "comment"},
    {"kind": "drop_after", "route": "comment", "reset": True},
    {"kind": "status", "status": 500, "route": "comment", "when": "before_accept"},
    {"kind": "status", "status": 502, "route": "comment", "when": "after_accept"},
    {"kind": "rate_limit", "route": "comment", "retry_after": 0.5},
    {"kind": "latency", "route": "comment", "when": "after_accept", "seconds": 3.0},
    {"kind": "latency", "route": "comment", "when": "before_accept", "seconds": 2.0},
    {"kind": "truncate", "route": "comment"},
    {"kind": "expire_session", "route": "comment"},
    {"kind": "expire_session", "route": "article"},
    {"kind": "drop_before", "route": "article"},
    {"kind": "truncate", "route": "article"},
    {"kind": "status", "status": 503, "route": "article"},
    {"kind": "rate_limit", "route": "index", "retry_after": 0.5},
    {"kind": "drop_after", "route": "index"},
    {"kind": "drop_after", "route": "login", "method": "POST"},
    {"kind": "status", "status": 500, "route": "llm"},
    {"kind": "rate_limit", "route": "llm", "retry_after": 0.5},
    {"kind": "drop_after", "route": "llm"},
    {"kind": "obey_injection"},
)


@dataclass(frozen=True)
class Plan:
    """How hard it blows. Times in seconds; `longest` bounds the storm, `patience` the calm after it."""

    kills: int
    workers: int = 3
    restarts: tuple[str, ...] = tuple(ENDS)
    cuts: int = 1
    weather_every: float = 0.4
    fates: dict[str, int] = field(default_factory=lambda: FATES)
    moments: tuple[str, ...] = MOMENTS
    backlog: int = 60
    head_start: float = 1.5
    oldest: float = 8.0
    longest: float = 480.0
    patience: float = 90.0
    outage: float = 30.0
    """Without PostgreSQL when the kills are over: nothing may be lost of what the workers record meanwhile."""


class Storm:
    """Blows until so many workers were killed. `killed_at` counts the kills by route and moment."""

    def __init__(self, plan: Plan, ground: Ground, crew: Crew) -> None:
        self.killed_at: Counter[str] = Counter()
        self.weather: Counter[str] = Counter()
        self._plan = plan
        self._ground = ground
        self._crew = crew
        self._person = Person(ground)

    async def blow(self) -> None:
        """Return when the workers were killed often enough, or time is up."""
        self._crew.keep(self._plan.workers)
        winds = [
            self._arm_the_born(),
            self._count_the_dead(),
            self._kill_the_old(),
            self._be_weather(),
            self._publish(),
            self._shake_the_database(),
            self._person.decide(),
        ]
        tasks = [asyncio.create_task(wind) for wind in winds]
        try:
            await self._until_enough(tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._ground.clear_faults()

    async def _until_enough(self, tasks: list[asyncio.Task[None]]) -> None:
        until = time.monotonic() + self._plan.longest
        shaken = self._plan.restarts
        while time.monotonic() < until:
            # Not the crew's own count: the last death is still being looked into.
            enough = sum(self.killed_at.values()) >= self._plan.kills
            if enough and len(self._ground.restarts) == len(shaken):
                return
            for task in tasks:
                if task.done() and (error := task.exception()):
                    raise error
            await asyncio.sleep(WATCH)

    async def _arm_the_born(self) -> None:
        while True:
            await self._arm(await self._crew.births.get())

    async def _arm(self, pid: int) -> None:
        """Choose a worker's end: at a request of its own, or whenever `_kill_the_old` comes."""
        route = random.choices(list(self._plan.fates), list(self._plan.fates.values()))[0]
        if route == RANDOM:
            asyncio.get_running_loop().call_later(random.uniform(0.1, self._plan.oldest), self._crew.kill, pid)
            return
        if route == "login":
            await self._ground.fault(kind="expire_session", route="any", after_s=0.5)
        asked = {
            "kind": "kill_client",
            "route": route,
            "when": random.choice(self._plan.moments),
            "pid": pid,
            "own_requests": True,
            "after_s": random.uniform(0.0, self._plan.head_start),
        }
        # A worker that was killed while this was on its way needs no fault any more: 422.
        await self._ground.site.post("/control/faults", json=asked)

    async def _count_the_dead(self) -> None:
        while True:
            pid = await self._crew.deaths.get()
            faults = await self._ground.faults()
            fatal = [fault for fault in faults if fault["pid"] == pid and fault["fired"]]
            self.killed_at[f"{fatal[0]['route']} {fatal[0]['when']}" if fatal else RANDOM] += 1
            if len(faults) > FAULTS_KEPT and self._crew.deaths.empty():
                await self._ground.clear_faults()
                for living in list(self._crew.born_at):
                    await self._arm(living)

    async def _kill_the_old(self) -> None:
        """One that never came to where it was to die."""
        while True:
            now = time.monotonic()
            for pid, born_at in self._crew.born_at.items():
                if now - born_at > self._plan.oldest:
                    self._crew.kill(pid)
            await asyncio.sleep(WATCH)

    async def _be_weather(self) -> None:
        while self._plan.weather_every:
            await asyncio.sleep(random.uniform(0, 2 * self._plan.weather_every))
            asked = random.choice(WEATHER)
            if await self._is_coming(asked):
                continue
            self.weather[f"{asked['kind']} on {asked.get('route', 'llm')}"] += 1
            await self._ground.fault(**asked)

    async def _is_coming(self, asked: dict[str, Any]) -> bool:
        """Whether one of the kind waits already: delays add up, and then no wait for what has no answer is enough."""
        same = ("kind", "route") if asked["kind"] == "latency" else tuple(asked)
        faults = await self._ground.faults()
        return any(not fault["fired"] and all(fault[name] == asked.get(name) for name in same) for fault in faults)

    async def _publish(self) -> None:
        """Articles arrive while fewer comments than the backlog are missing."""
        while True:
            if await self._missing() < self._plan.backlog:
                await self._ground.more_articles(random.choice(self._ground.processes).tab, 1)
            else:
                await asyncio.sleep(0.5)

    async def _missing(self) -> int:
        wanted = len(await self._ground.wanted())
        try:
            return wanted - await self._ground.over()
        except Exception as error:
            if not will_pass(error):
                raise
            return wanted

    async def _shake_the_database(self) -> None:
        """Each restart and cut when its share of the kills has happened."""
        shakes = [*self._plan.restarts, *["cut"] * self._plan.cuts]
        random.shuffle(shakes)
        for number, shake in enumerate(shakes, 1):
            while self._crew.kills < self._plan.kills * number / (len(shakes) + 1):
                await asyncio.sleep(WATCH)
            if shake == "cut":
                await self._ground.cut_connections()
                self._ground.cuts += 1
            else:
                await self._ground.restart_server(shake)
