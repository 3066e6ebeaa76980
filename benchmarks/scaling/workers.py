"""One, two and four workers on one database: is anything done twice, and how much faster is it?"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
from sqlalchemy import text

from benchmarks.cpu import by_component
from lib.database import Database
from lib.settings import settings as read_settings
from playground.accounts import BOTS
from tests.world import World

WORKERS = (1, 2, 4)
PROCESSES, EACH = 80, 4
AT_ONCE = 100  # so that the model is not what they wait for
PATIENCE = 240.0
READY_WITHIN = 90.0


@dataclass(frozen=True)
class WorkersFigure:
    """So many workers, seconds until everything was posted, and what the site and the records say of it."""

    workers: int
    seconds: float
    articles: int
    twice: int
    """Articles with more than one comment on the site."""
    missing: int
    model_calls: int
    shares: Sequence[Mapping[str, int]]
    """What each worker did, by stage."""
    failed_ticks: int
    cpu: Mapping[str, float]
    """Milliseconds an article by component."""

    @property
    def rate(self) -> float:
        return self.articles / self.seconds


async def measure(database: Database, site: str) -> list[WorkersFigure]:
    world = World(read_settings(), database, site)
    template = await world.template("of the workers")
    provider = await world.provider("of the workers", max_concurrency=AT_ONCE)
    logins = [await world.login(f"of the workers {number}", bot.username) for number, bot in enumerate(BOTS)]
    return [await _with(number, world, template, provider, logins) for number in WORKERS]


async def _with(number: int, world: World, template: Any, provider: Any, logins: Sequence[Any]) -> WorkersFigure:
    with ExitStack() as stack:
        running = [stack.enter_context(_worker(number)) for _ in range(number)]
        await asyncio.gather(*(asyncio.to_thread(_ready, each) for each in running))
        articles = await _work(world, number, template, provider, logins)
        used, calls, began = by_component(), await _calls(world), time.perf_counter()
        for each in running:
            _say(each, "go\n")
        await _all_posted(world, number)
        seconds = time.perf_counter() - began
        cpu = {what: (now - used[what]) / len(articles) * 1000 for what, now in by_component().items()}
        said = await asyncio.gather(*(asyncio.to_thread(_end, each) for each in running))
    cpu["workers"] = sum(each["cpu"] for each in said) / len(articles) * 1000
    found = await _comments(world, articles)
    return WorkersFigure(
        workers=number,
        seconds=seconds,
        articles=len(articles),
        twice=sum(1 for count in found.values() if count > 1),
        missing=sum(1 for article in articles if not found[article]),
        model_calls=await _calls(world) - calls,
        shares=[each["done"] for each in said],
        failed_ticks=sum(each["failed"] for each in said),
        cpu=cpu,
    )


def _worker(of: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks.scaling.worker", str(of)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ready(worker: subprocess.Popen[str]) -> None:
    assert worker.stdout is not None
    if worker.stdout.readline().strip() != "ready":
        raise RuntimeError("A worker did not get ready")


def _say(worker: subprocess.Popen[str], words: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(words)
    worker.stdin.flush()


def _end(worker: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = worker.communicate(timeout=READY_WITHIN)
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


async def _work(world: World, number: int, template: Any, provider: Any, logins: Sequence[Any]) -> list[str]:
    """New articles, each for one process; the ids that the site gave them."""
    articles: list[str] = []
    async with httpx.AsyncClient(base_url=world.site, timeout=60) as client:
        for each in range(PROCESSES):
            tab = str(9000 + 100 * number + each)
            made = await client.post("/control/articles", json={"tab": tab, "count": EACH})
            articles += [str(article) for article in made.raise_for_status().json()["ids"]]
            login = logins[each % len(logins)]
            parts = {"logins": [login], "templates": [template], "provider": provider}
            await world.process(f"{number} workers, {each}", tab_filter=tab, article_limit=EACH, **parts)
    return articles


async def _all_posted(world: World, number: int) -> None:
    statement = text("""SELECT count(*) FROM ai_comments c JOIN monitoring_processes p ON p.id = monitoring_process_id
        WHERE p.name LIKE :name AND c.status = 'posted'""")
    async with asyncio.timeout(PATIENCE):
        while True:
            async with world.database.session() as session:
                if await session.scalar(statement, {"name": f"{number} workers,%"}) == PROCESSES * EACH:
                    return
            await asyncio.sleep(0.1)


async def _calls(world: World) -> int:
    """That the model was asked, as it says itself."""
    async with httpx.AsyncClient(base_url=world.site, timeout=60) as client:
        return int((await client.get("/control/requests")).raise_for_status().json()["llm_calls"])


async def _comments(world: World, articles: Sequence[str]) -> Counter[str]:
    """By article, how many the bots wrote, as the site has them."""
    ours, bots = set(articles), {bot.username for bot in BOTS}
    async with httpx.AsyncClient(base_url=world.site, timeout=60) as client:
        found = (await client.get("/control/comments")).raise_for_status().json()
    return Counter(
        str(each["article_id"]) for each in found if str(each["article_id"]) in ours and each["author"] in bots
    )
