"""What a storm goes over: a PostgreSQL cluster of its own, the playground, and the records of a busy newsroom."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import text

from lib import migrate, postgres, vault
from lib.database import Database
from lib.settings import Settings
from playground.accounts import BOTS
from playground.config import Config
from playground.serve import running
from tests.chaos import rows
from tests.chaos.evidence import Counted, Evidence, Wanted
from tests.world import World

DATABASE = "chaos"
# How a server is taken away: in order, at once, or without a word.
ENDS = {"fast stop": None, "immediate stop": signal.SIGQUIT, "SIGKILL": signal.SIGKILL}

# Leases as short as settings allow, so that a killed worker's work is soon another's. What was sent may arrive after
# `SITE_TIMEOUT`, but within `UNKNOWN_WAIT` of it, and a lease outlasts both: the proportions are those of the defaults.
# `MAX_ATTEMPTS`: a storm is no item's fault, and here three failures in a row happen to many.
SHORT = {
    "ALLOW_PRIVATE_ADDRESSES": "true",
    "ITEM_TASK_RUNS": "false",
    "ITEM_LEASE": "5",
    "STAGE_LEASE": "5",
    "SITE_REQUESTS_PER_SECOND": "10000",
    "SITE_BURST": "10000",
    "SITE_TIMEOUT": "1.5",
    "LLM_TIMEOUT": "3",
    "POST_INTERVAL": "0",
    "RETRY_BASE": "0.1",
    "RETRY_MAX": "1",
    "UNKNOWN_WAIT": "3",
    "REFUSED_WAIT": "1",
    "QUIET_MIN": "1",
    "QUIET_MAX": "3",
    "MAX_ATTEMPTS": "50",
    "ARTICLE_LIMIT": "100",
}


@dataclass(frozen=True)
class Watching:
    """A process: the class that it watches, with which accounts and templates."""

    name: str
    tab: str
    logins: tuple[str, ...]
    templates: tuple[str, ...] = ("friendly", "curious")
    hides: bool = False
    asks: bool = False
    """A person approves each comment, or rejects it."""


BOT = tuple(account.username for account in BOTS)
# Two processes share a login, with the same templates on the same class: their comments are the same ones.
NEWSROOM = (
    Watching("morning", "101", BOT[0:4]),
    Watching("noon", "101", BOT[3:7]),
    Watching("evening", "102", BOT[6:10], hides=True),
    Watching("night", "102", BOT[9:12], asks=True),
)


class Ground:
    """The server, the site and the records, with what a storm does to the first and reads from the others."""

    def __init__(
        self, place: Path, cluster: postgres.Cluster, site: httpx.AsyncClient, processes: tuple[Watching, ...]
    ) -> None:
        self.processes = processes
        self.site = site
        self.restarts: list[str] = []
        self.cuts = 0
        self._place = place
        self._cluster = cluster
        self._key = vault.new_key()
        self.process_ids: list[UUID] = []
        self.decided: dict[str, str] = {}
        self.away: tuple[datetime, datetime] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The settings of a worker."""
        values = SHORT | {
            "DATABASE_URL": self._cluster.url(DATABASE),
            "DATA_DIR": str(self._place),
            "ENCRYPTION_KEYS": self._key,
        }
        return {f"PRESSROOM_{name}": value for name, value in values.items()}

    @property
    def log(self) -> Path:
        """What the workers say."""
        return self._place / "workers.log"

    def database(self) -> Database:
        """Opened for a moment: the server may be gone in the next."""
        return Database(self._cluster.url(DATABASE), pool_size=1)

    async def furnish(self) -> None:
        """Tables, the witness, and the processes with all that they refer to, all running."""
        await postgres.create_database(self._cluster, DATABASE)
        settings = Settings.model_validate({"encryption_keys": self._key, "data_dir": self._place})
        async with self.database() as database:
            await migrate.upgrade(database)
            async with database.session() as session:
                for statement in rows.WITNESS:
                    await session.execute(text(statement))
            world = World(settings, database, str(self.site.base_url).rstrip("/"))
            await self._make_processes(world)

    async def _make_processes(self, world: World) -> None:
        names = dict.fromkeys(login for process in self.processes for login in process.logins)
        logins = {name: await world.login(name, name) for name in names}
        kinds = dict.fromkeys(template for process in self.processes for template in process.templates)
        templates = {name: await world.template(name) for name in kinds}
        provider = await world.provider(max_concurrency=10)
        for process in self.processes:
            made = await world.process(
                process.name,
                logins=[logins[name] for name in process.logins],
                templates=[templates[name] for name in process.templates],
                provider=provider,
                tab_filter=process.tab,
                hide_comments=process.hides,
                generate_only=process.asks,
            )
            self.process_ids.append(made)

    async def restart_server(self, end: str) -> None:
        """Take PostgreSQL away in the named manner and bring it back on the same data."""
        with_signal = ENDS[end]
        if with_signal is not None:
            self._cluster.process.send_signal(with_signal)
            await self._cluster.process.wait()
        await postgres.stop(self._cluster)
        await self.start_server()
        self.restarts.append(end)

    async def start_server(self) -> None:
        """Nothing is lost when this server dies: it commits to disk before it says so."""
        self._cluster = await postgres.start(self._cluster.directory, durable=True)

    async def cut_connections(self) -> None:
        """End every session of the database from the server's side."""
        async with self.database() as database, database.session() as session:
            await session.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name AND pid <> :me"),
                {"name": DATABASE, "me": (await session.execute(text("SELECT pg_backend_pid()"))).scalar_one()},
            )

    async def be_away(self, seconds: float) -> None:
        """No PostgreSQL for so long."""
        begin = datetime.now(UTC)
        await self.stop_server()
        await asyncio.sleep(seconds)
        self.away = (begin, datetime.now(UTC))
        await self.start_server()

    async def stop_server(self) -> None:
        await postgres.stop(self._cluster)

    # The site

    async def fault(self, **asked: Any) -> None:
        (await self.site.post("/control/faults", json=asked)).raise_for_status()

    async def faults(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.site.get("/control/faults")).json()
        return found

    async def clear_faults(self) -> None:
        await self.site.delete("/control/faults")

    async def more_articles(self, tab: str, count: int) -> None:
        (await self.site.post("/control/articles", json={"tab": tab, "count": count})).raise_for_status()

    async def wanted(self) -> frozenset[Wanted]:
        articles = (await self.site.get("/control/articles")).json()
        return frozenset(
            Wanted(str(article["id"]), login, template)
            for article in articles
            for process in self.processes
            if article["tab"] == process.tab and article["status"] == "publiziert"
            for login in process.logins
            for template in process.templates
        )

    async def traffic(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.site.get("/control/requests")).json()
        return found

    # What there is to see

    async def evidence(self) -> Evidence:
        comments = (await self.site.get("/control/comments")).json()
        async with self.database() as database:
            records = await rows.rows(database, rows.RECORDS)
            counted = await rows.rows(database, rows.COUNTED)
            held = await rows.rows(database, rows.HELD)
        return Evidence(
            wanted=await self.wanted(),
            records=tuple(rows.record(row) for row in records),
            on_site=tuple(rows.on_site(comment) for comment in comments),
            counted=tuple(Counted(**row) for row in counted),
            held=tuple(row["what"] for row in held),
            hiding=frozenset(process.name for process in self.processes if process.hides),
            asking=frozenset(process.name for process in self.processes if process.asks),
            decided=dict(self.decided),
        )

    async def over(self) -> int:
        """How many comments nobody will do anything about any more."""
        async with self.database() as database:
            [row] = await rows.rows(database, rows.OVER)
        return int(row["number"])

    async def takeovers(self) -> list[rows.Takeover]:
        async with self.database() as database:
            return [rows.Takeover(**row) for row in await rows.rows(database, rows.TAKEOVERS)]

    async def histories(self, article: str, login: str) -> list[str]:
        """What happened to the comments of a login on an article, line by line."""
        async with self.database() as database:
            found = await rows.rows(database, rows.HISTORY, article=article, login=login)
        return [" ".join(str(value) for value in row.values()) for row in found]


@asynccontextmanager
async def prepared(processes: tuple[Watching, ...], articles: int) -> AsyncIterator[Ground]:
    """Ground that is ready, and in the end gone without a trace."""
    place = _in_memory()
    try:
        cluster = await postgres.start(place / "cluster", durable=True)
        async with (
            running(Config(articles=articles, new_article_every=0)) as served,
            httpx.AsyncClient(base_url=served.url, timeout=20) as site,
        ):
            ground = Ground(place, cluster, site, processes)
            try:
                await ground.furnish()
                yield ground
            finally:
                await asyncio.shield(ground.stop_server())
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _in_memory() -> Path:
    memory = Path("/dev/shm")  # noqa: S108 - killed processes lose nothing there, and only those are killed
    place = Path(tempfile.mkdtemp(prefix="pressroom-chaos-", dir=memory if memory.is_dir() else None))
    place.chmod(0o755)
    return place
