"""The work of a benchmark: articles on the site and running processes for them, judged by what the site then shows."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from benchmarks.contenders import BEAT_SECONDS, Load
from benchmarks.ground import Outside
from lib.database import Database
from lib.monitoring.store import processes
from lib.settings import settings as read_settings
from playground.accounts import BOTS
from tests.world import World

FIRST_TAB = 1000
LOOK_AGAIN = 0.5
# There are fewer accounts than logins: several of these are the same person, each with a session of its own.
ACCOUNTS = BOTS[:-1]


@dataclass(frozen=True)
class Job:
    """What is to be done once: a comment on each article. Every answer is the site's, none a contender's."""

    site: str
    appeared: dict[int, datetime]
    """Of each article, when it came on the site."""
    process_ids: tuple[Any, ...]

    async def comments(self) -> list[dict[str, Any]]:
        """Those on our articles."""
        async with httpx.AsyncClient(timeout=60) as client:
            answer = await client.get(f"{self.site}/control/comments")
        return [each for each in answer.raise_for_status().json() if each["article_id"] in self.appeared]

    async def posted_now(self) -> int:
        return len({each["article_id"] for each in await self.comments()})

    def posted(self) -> int:
        """How many articles have a comment."""
        return asyncio.run(self.posted_now())

    async def until_posted(self, number: int, timeout: float) -> bool:  # noqa: ASYNC109 - the answer says so
        """Whether so many articles have a comment within the time."""
        deadline = time.monotonic() + timeout
        while await self.posted_now() < number:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(LOOK_AGAIN)
        return True

    def posted_times(self) -> list[float]:
        """Seconds from each article's appearance to its first comment, in order."""
        return sorted(self._first_comments().values())

    def seconds(self) -> float:
        """From the first article's appearance to the last first comment."""
        began = min(self.appeared.values())
        first = self._first_comments()
        return max((self.appeared[id_] - began).total_seconds() + took for id_, took in first.items())

    def duplicates(self) -> int:
        """Comments beyond the first on an article."""
        found = asyncio.run(self.comments())
        return len(found) - len({each["article_id"] for each in found})

    def lost(self) -> int:
        """Articles without a comment."""
        return len(self.appeared) - self.posted()

    def _first_comments(self) -> dict[int, float]:
        found: dict[int, float] = {}
        for each in asyncio.run(self.comments()):
            took = (datetime.fromisoformat(each["created_at"]) - self.appeared[each["article_id"]]).total_seconds()
            found[each["article_id"]] = min(took, found.get(each["article_id"], took))
        return found


def make_world(outside: Outside, load: Load, first_tab: int = FIRST_TAB, phase: float | None = None) -> Job:
    """Logins, templates and one process a login, then the articles; the processes are started together, last.

    The names and the tabs of the site, one a process, begin with `first_tab`. The articles come so many seconds after
    a beat, if beats are counted from the epoch.
    """
    return asyncio.run(make_world_now(outside, load, first_tab, phase))


async def make_world_now(outside: Outside, load: Load, first_tab: int = FIRST_TAB, phase: float | None = None) -> Job:
    """Within a loop."""
    settings = read_settings()
    tabs = range(first_tab, first_tab + load.processes)
    async with Database(outside.database_url, pool_size=2) as database:
        made = await _processes(World(settings, database, outside.site), load, tabs)
        if phase is not None:
            await asyncio.sleep((phase - time.time()) % BEAT_SECONDS)
        appeared = await _articles(outside.site, load, tabs)
        async with database.session() as session:
            for process_id in made:
                await processes.start(session, process_id)
    return Job(outside.site, appeared, tuple(made))


async def stop(outside: Outside, job: Job) -> None:
    """End its processes, so that nobody looks for more of it."""
    async with Database(outside.database_url, pool_size=1) as database, database.session() as session:
        for process_id in job.process_ids:
            await processes.end(session, process_id, "stopped", "measured")


async def _processes(world: World, load: Load, tabs: range) -> list[Any]:
    template = await world.template(f"friendly {tabs.start}")
    provider = await world.provider(f"model {tabs.start}", max_concurrency=load.at_once)
    made = []
    for tab in tabs:
        login = await world.login(f"login {tab}", ACCOUNTS[tab % len(ACCOUNTS)].username)
        made.append(
            await world.process(
                f"process {tab}",
                logins=[login],
                templates=[template],
                provider=provider,
                start=False,
                tab_filter=str(tab),
                article_limit=load.articles,
                max_duration_minutes=600,
            )
        )
    return made


async def _articles(site: str, load: Load, tabs: range) -> dict[int, datetime]:
    """When the site had made each, by this machine's clock, which is the site's too."""
    appeared: dict[int, datetime] = {}
    async with httpx.AsyncClient(base_url=site, timeout=60) as client:

        async def put(tab: int) -> None:
            asked = {"tab": str(tab), "count": load.articles}
            made = (await client.post("/control/articles", json=asked)).raise_for_status().json()
            appeared.update(dict.fromkeys(made["ids"], datetime.now(UTC)))

        # All at once: with many processes the beat would have moved on before the last was there.
        await asyncio.gather(*map(put, tabs))
    return appeared


def share(times: Sequence[float], part: float) -> float:
    """The value that so great a part of them does not exceed."""
    return sorted(times)[min(len(times) - 1, int(len(times) * part))]
