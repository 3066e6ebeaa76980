"""500 articles through the four stages at once: how much longer than the outside world alone would take?

Pages answer in 50 ms, the model in 1 s with 20 calls at once. The ideal is the longest stage's waiting, divided by its
concurrency: with one login that is posting (read, post, read back: one comment at a time), with ten it is the model.
The peers are bare loops that make the same calls on the same model, and on the same site, and do nothing else.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx
import psutil
from sqlalchemy import ScalarSelect, func, select

from benchmarks.cpu import MARKS, by_component, own
from benchmarks.ground import ground
from lib import llm, vault
from lib.database import Database, SessionFigures, together
from lib.garbage import spare_the_collector
from lib.http import Limits
from lib.monitoring.models import AIComment, PromptTemplate
from lib.monitoring.mymoment import MyMoment
from lib.settings import settings as read_settings
from playground.accounts import BOTS, LLM_KEY, LLM_MODEL
from tests.world import World

ARTICLES = 500
PAGE_SECONDS = 0.05
LLM_SECONDS = 1.0
AT_ONCE = 20
BARE_POSTS = 50
STAGGER_SECONDS = 0.1
TICK_SECONDS = 10


def ideal(logins: int) -> float:
    """Seconds of the longest stage, if everything of ours took no time."""
    return max(ARTICLES * LLM_SECONDS / AT_ONCE, ARTICLES * 3 * PAGE_SECONDS / logins)


@dataclass(frozen=True)
class Figure:
    """One way of doing it, in seconds, and what its database sessions were like."""

    name: str
    seconds: float
    ideal: float
    sessions: SessionFigures | None = None
    # Milliseconds of CPU an article, by component
    cpu: Mapping[str, float] | None = None

    @property
    def ratio(self) -> float:
        return self.seconds / self.ideal


def run() -> list[Figure]:
    os.environ.update(
        {
            "PRESSROOM_ENCRYPTION_KEYS": vault.new_key(),
            "PRESSROOM_ALLOW_PRIVATE_ADDRESSES": "true",
            "PRESSROOM_SITE_REQUESTS_PER_SECOND": "100000",
            "PRESSROOM_SITE_BURST": "100000",
            "PRESSROOM_POST_INTERVAL": "0",
            "PRESSROOM_ARTICLE_LIMIT": str(ARTICLES),
            "PREFECT_LOGGING_LEVEL": "ERROR",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
        }
    )
    with ground(LLM_SECONDS, PAGE_SECONDS) as there:
        return [
            Figure("bare loop over the model", asyncio.run(_bare_loop(there.site)), ideal(ARTICLES)),
            Figure("bare loop over the site, one login", asyncio.run(_bare_posts(there.site)), ideal(1)),
            asyncio.run(_pipeline(there.site, "one login, item task runs on", 1000, 1, item_runs=True)),
            asyncio.run(_pipeline(there.site, "ten logins, item task runs on", 2000, 10, item_runs=True)),
            asyncio.run(_pipeline(there.site, "ten logins, item task runs off", 3000, 10, item_runs=False)),
        ]


async def _bare_loop(site: str) -> float:
    gate = asyncio.Semaphore(AT_ONCE)
    body = {"model": LLM_MODEL, "messages": [{"role": "user", "content": "Say something kind about a red panda."}]}
    headers = {"Authorization": f"Bearer {LLM_KEY}"}
    async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=AT_ONCE)) as client:

        async def call() -> None:
            async with gate:
                (await client.post(f"{site}/llm/v1/chat/completions", json=body, headers=headers)).raise_for_status()

        began = time.perf_counter()
        await asyncio.gather(*(call() for _ in range(ARTICLES)))
        return time.perf_counter() - began


async def _bare_posts(site: str) -> float:
    """Seconds for all articles, from those for a few: read, post, read again, one after the other."""
    async with httpx.AsyncClient(base_url=site, timeout=60) as client:
        made = await client.post("/control/articles", json={"tab": "900", "count": BARE_POSTS})
        made.raise_for_status()
    bot = BOTS[-1]
    async with MyMoment(site, Limits(allow_private=True)) as client:
        await client.log_in(bot.username, bot.password)
        found = (await client.index("900")).entries[:BARE_POSTS]
        began = time.perf_counter()
        for entry in found:
            page = await client.article(entry.article_id)
            assert page.csrf_token
            await client.post_comment(entry.article_id, "Very kind.", csrf_token=page.csrf_token, hidden=False)
            await client.article(entry.article_id)
        return (time.perf_counter() - began) / len(found) * ARTICLES


async def _pipeline(site: str, name: str, first_tab: int, logins: int, *, item_runs: bool) -> Figure:
    from flows.discover_articles import discover_articles  # noqa: PLC0415 - Prefect reads the environment first
    from flows.generate_comments_for_articles import generate_comments_for_articles  # noqa: PLC0415
    from flows.post_comments_for_articles import post_comments_for_articles  # noqa: PLC0415
    from flows.prepare_content_of_articles import prepare_content_of_articles  # noqa: PLC0415

    os.environ["PRESSROOM_ITEM_TASK_RUNS"] = str(item_runs).lower()
    read_settings.cache_clear()
    settings = read_settings()
    del os.environ["PRESSROOM_ITEM_TASK_RUNS"]  # each figure has its own, so it is no setting of the section
    assert settings.database_url
    opened: list[Database] = []
    _remember(opened)
    async with Database(settings.database_url) as database:
        flows = (
            discover_articles,
            prepare_content_of_articles,
            generate_comments_for_articles,
            post_comments_for_articles,
        )
        llm.load()  # as the worker does
        for flow in flows:
            await flow()  # an idle tick: a worker has long loaded its modules
        await _make_world(World(settings, database, site), name, first_tab, logins)
        opened.clear()
        spare_the_collector()  # as the worker does
        used = _cpu()
        began = time.perf_counter()
        await flows[0]()  # what discovery has found starts the next, as in a worker
        ticking = []
        for flow in flows[1:]:
            ticking.append(asyncio.create_task(_tick_again_and_again(flow)))
            await asyncio.sleep(STAGGER_SECONDS)
        await _all_posted(database, ARTICLES)
        seconds = time.perf_counter() - began
        cpu = {what: (total - used.get(what, 0)) / ARTICLES * 1000 for what, total in _cpu().items()}
        for task in ticking:
            task.cancel()
        await asyncio.gather(*ticking, return_exceptions=True)
    return Figure(name, seconds, ideal(logins), together([each.measures for each in opened]), cpu)


def _cpu() -> dict[str, float]:
    """Seconds of CPU so far by component; the flows are this process."""
    return {"flows": own(psutil.Process()), **by_component()}


async def _tick_again_and_again(flow: Callable[[], Awaitable[object]]) -> None:
    while True:
        await flow()
        await asyncio.sleep(TICK_SECONDS)


async def _all_posted(database: Database, number: int) -> None:
    posted = select(func.count()).where(
        AIComment.status == "posted", AIComment.prompt_template_id == _newest_template()
    )
    while True:
        async with database.session() as session:
            if await session.scalar(posted) == number:
                return
        await asyncio.sleep(0.1)


def _newest_template() -> ScalarSelect[UUID]:
    return select(PromptTemplate.id).order_by(PromptTemplate.id.desc()).limit(1).scalar_subquery()


def _remember(opened: list[Database]) -> None:
    enter = Database.__aenter__

    async def remembering(self: Database) -> Database:
        opened.append(self)
        return await enter(self)

    Database.__aenter__ = remembering  # type: ignore[method-assign]


async def _make_world(world: World, name: str, first_tab: int, logins: int) -> None:
    template = await world.template(f"template of {name}")
    provider = await world.provider(f"provider of {name}", max_concurrency=AT_ONCE)
    async with httpx.AsyncClient(base_url=world.site, timeout=60) as client:
        for number in range(logins):
            tab = str(first_tab + number)
            made = await client.post("/control/articles", json={"tab": tab, "count": ARTICLES // logins})
            made.raise_for_status()
            login = await world.login(f"login {number} of {name}", BOTS[number].username)
            await world.process(
                f"{name} {number}", logins=[login], templates=[template], provider=provider, tab_filter=tab
            )


CPU = ("flows", *MARKS.values())


def report(figures: Sequence[Figure]) -> str:
    lines = [
        f"## {ARTICLES} articles through four stages at once",
        "",
        f"Pages {PAGE_SECONDS * 1000:.0f} ms, model {LLM_SECONDS:g} s, {AT_ONCE} calls at once.",
        "",
        "| | seconds | ideal | × ideal | sessions | p50 ms | p99 ms | max ms | connections of a run |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        have = figure.sessions
        sessions = (
            f"{have.count} | {have.p50 * 1000:.1f} | {have.p99 * 1000:.1f} | {have.max * 1000:.0f} | "
            f"{have.peak_connections}"
            if have
            else "| | | | "
        )
        lines.append(f"| {figure.name} | {figure.seconds:.1f} | {figure.ideal:.1f} | {figure.ratio:.2f} | {sessions} |")
    lines += ["", "CPU an article, ms:", "", "| | " + " | ".join(CPU) + " |", "|---" * (len(CPU) + 1) + "|"]
    for figure in figures:
        if figure.cpu is not None:
            lines.append(f"| {figure.name} | " + " | ".join(f"{figure.cpu.get(each, 0):.0f}" for each in CPU) + " |")
    return "\n".join(lines) + "\n"
