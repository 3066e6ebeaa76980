"""What a storm goes over: a PostgreSQL cluster of its own, the playground, and the records of a busy newsroom."""

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from sqlalchemy import RowMapping, text

from lib import migrate, postgres, vault
from lib.database import Database
from lib.settings import Settings
from playground.accounts import BOTS
from playground.config import Config
from playground.serve import running
from tests.chaos.evidence import Counted, Evidence, OnSite, Record, Wanted
from tests.world import World

DATABASE = "chaos"
PUBLISHED = 20
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

# Every change of a comment's claim, status or intent to post: for the takeovers, and for finding out what went wrong.
WITNESS = (
    """CREATE TABLE chaos_history (at timestamptz, comment uuid, status text, token uuid, token_before uuid,
    lease_before timestamptz, sent_at timestamptz, attempts int, error text)""",
    """CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO chaos_history VALUES (clock_timestamp(), NEW.id, NEW.status, NEW.claim_token, OLD.claim_token,
    OLD.lease_expires_at, NEW.post_sent_at, NEW.attempts, NEW.error_message);
    RETURN NULL; END $$""",
    """CREATE TRIGGER chaos_witness AFTER UPDATE ON ai_comments FOR EACH ROW
    WHEN (OLD.claim_token IS DISTINCT FROM NEW.claim_token OR OLD.post_sent_at IS DISTINCT FROM NEW.post_sent_at)
    EXECUTE FUNCTION chaos_note()""",
)


@dataclass(frozen=True)
class Watching:
    """A process: the class that it watches, with which accounts and templates."""

    name: str
    tab: str
    logins: tuple[str, ...]
    templates: tuple[str, ...] = ("friendly", "curious")


BOT = tuple(account.username for account in BOTS)
# Two processes share a login, with the same templates on the same class: their comments are the same ones.
NEWSROOM = (
    Watching("morning", "101", BOT[0:4]),
    Watching("noon", "101", BOT[3:7]),
    Watching("evening", "102", BOT[6:10]),
    Watching("night", "102", BOT[9:12]),
)


@dataclass(frozen=True)
class Takeover:
    """A comment that a killed worker left: its status, whether its post was sent, seconds since the lease's end."""

    status: str
    sent: bool
    late: float


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
                for statement in WITNESS:
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
            records = await _rows(database, RECORDS)
            counted = await _rows(database, COUNTED)
            held = await _rows(database, HELD)
        return Evidence(
            wanted=await self.wanted(),
            records=tuple(_record(row) for row in records),
            on_site=tuple(_on_site(comment) for comment in comments),
            counted=tuple(Counted(**row) for row in counted),
            held=tuple(row["what"] for row in held),
        )

    async def takeovers(self) -> list[Takeover]:
        async with self.database() as database:
            return [Takeover(**row) for row in await _rows(database, TAKEOVERS)]

    async def histories(self, article: str, login: str) -> list[str]:
        """What happened to the comments of a login on an article, line by line."""
        async with self.database() as database:
            rows = await _rows(database, HISTORY, article=article, login=login)
        return [" ".join(str(value) for value in row.values()) for row in rows]


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


RECORDS = """SELECT c.mymoment_article_id AS article, l.name AS login, t.name AS template, p.name AS process,
    c.status, c.comment_content AS text, c.mymoment_comment_id AS site_id, c.error_message AS error, c.failed_from,
    c.claim_token IS NOT NULL AS held
    FROM ai_comments c JOIN mymoment_logins l ON l.id = c.mymoment_login_id
    JOIN prompt_templates t ON t.id = c.prompt_template_id
    JOIN monitoring_processes p ON p.id = c.monitoring_process_id"""
COUNTED = """SELECT name AS process, articles_discovered AS discovered, articles_prepared AS prepared,
    comments_generated AS generated, comments_posted AS posted, errors_encountered_in_preparation +
    errors_encountered_in_generation + errors_encountered_in_posting AS failures FROM monitoring_processes"""
HELD = """SELECT 'posting with ' || name AS what FROM mymoment_logins WHERE posting_lease_expires_at >= now()
    UNION ALL SELECT 'log-in of ' || name FROM mymoment_logins
    WHERE claim_token IS NOT NULL AND lease_expires_at >= now()
    UNION ALL SELECT s.stage || ' of ' || p.name FROM monitoring_process_stages s JOIN monitoring_processes p
    ON p.id = s.monitoring_process_id WHERE s.claim_token IS NOT NULL AND s.lease_expires_at >= now()"""


TAKEOVERS = """SELECT status, sent_at IS NOT NULL AS sent,
    extract(epoch FROM at - lease_before)::double precision AS late
    FROM chaos_history WHERE token <> token_before"""
HISTORY = """SELECT to_char(h.at, 'HH24:MI:SS.MS') AS at, right(h.comment::text, 4) AS comment, h.status, h.attempts,
    right(h.token::text, 4) AS token, right(h.token_before::text, 4) AS before,
    to_char(h.lease_before, 'MI:SS.MS') AS lease, to_char(h.sent_at, 'MI:SS.MS') AS sent, h.error
    FROM chaos_history h JOIN ai_comments c ON c.id = h.comment JOIN mymoment_logins l ON l.id = c.mymoment_login_id
    WHERE c.mymoment_article_id = :article AND l.name = :login ORDER BY h.at"""


async def _rows(database: Database, query: str, **values: str) -> Iterable[RowMapping]:
    async with database.session() as session:
        return (await session.execute(text(query), values)).mappings().all()


def _record(row: RowMapping) -> Record:
    values = dict(row)
    wanted = Wanted(values.pop("article"), values.pop("login"), values.pop("template"))
    return Record(wanted, **values)


def _on_site(comment: dict[str, Any]) -> OnSite:
    return OnSite(
        id=str(comment["id"]),
        article=str(comment["article_id"]),
        author=comment["author"],
        text=comment["text"],
        published=comment["status"] == PUBLISHED,
        hidden=comment["hidden"],
        created_at=comment["created_at"],
    )
