"""Pressroom as `make run` runs it, but for a shorter beat."""

import asyncio
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import text

from benchmarks.contenders import BEAT_SECONDS, Polls
from benchmarks.ground import Outside, free_port, wait_until
from benchmarks.peers.programs import alive, family_of, program
from deployments import instance
from lib import postgres
from lib.database import Database

BEATS = ("PRESSROOM_STAGE_INTERVAL", "PRESSROOM_QUIET_MIN", "PRESSROOM_QUIET_MAX")
# A discovery that found nothing has a child all the same, its look; what it found is what counts.
POLLS = text("""
    SELECT count(*), count(*) FILTER (WHERE CASE WHEN stage.task_name LIKE 'discover%' THEN NOT EXISTS (
        SELECT FROM ai_comments found WHERE found.monitoring_process_id = stage.process_id
        AND found.created_at BETWEEN stage.started_at AND stage.completed_at
    ) ELSE NOT EXISTS (
        SELECT FROM task_execution_logs item WHERE item.parent_id = stage.id AND item.kind = 'item'
    ) END) FROM task_execution_logs stage WHERE stage.kind = 'stage' AND stage.completed_at IS NOT NULL
""")
COMPONENTS = {"worker": "worker", "prefect": "Prefect server", "console": "console"}


@dataclass(frozen=True)
class _Running:
    database_url: str
    data_dir: Path
    supervisor: int

    def workers(self) -> Sequence[int]:
        """The process that runs the flows; the supervisor starts it again."""
        return self._pids().get("worker", [])

    def components(self) -> Mapping[str, Sequence[int]]:
        return {"supervisor": [self.supervisor], **{COMPONENTS[name]: pids for name, pids in self._pids().items()}}

    def polls(self) -> Polls:
        """From its own task records."""
        return asyncio.run(self._polls())

    async def _polls(self) -> Polls:
        async with Database(self.database_url, pool_size=1) as database, database.session() as session:
            every, empty = (await session.execute(POLLS)).one()
        return Polls(every, empty)

    def _pids(self) -> dict[str, list[int]]:
        found = instance.read(self.data_dir)
        living = {mark.name: mark.process() for mark in found.children} if found else {}
        return {
            name: [each.pid for each in family_of(process.pid)]
            for name, process in living.items()
            if process and name in COMPONENTS
        }


@dataclass(frozen=True)
class Pressroom:
    name: str
    item_runs: bool

    def versions(self) -> Mapping[str, str]:
        return {name: version(name) for name in ("pressroom", "prefect", "sqlalchemy", "asyncpg")}

    @contextlib.contextmanager
    def running(self, outside: Outside) -> Iterator[_Running]:
        asyncio.run(postgres.create_database(outside.cluster, "prefect"))
        data_dir, said = outside.place / "up", outside.place / "up.log"
        with program([sys.executable, "-m", "deployments.up"], self._environment(outside, data_dir), said) as up:
            wait_until(lambda: alive(up, said) and "up after" in said.read_text())
            yield _Running(outside.database_url, data_dir, up.pid)

    def _environment(self, outside: Outside, data_dir: Path) -> dict[str, str]:
        """One cluster with a database for each, as it has them by itself. An idle login is looked at every beat."""
        return {
            "PRESSROOM_DATABASE_URL": outside.database_url,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": outside.cluster.url("prefect"),
            "PRESSROOM_DATA_DIR": str(data_dir),
            "PRESSROOM_PREFECT_PORT": str(free_port()),
            "PRESSROOM_CONSOLE_PORT": str(free_port()),
            **dict.fromkeys(BEATS, str(BEAT_SECONDS)),
            "PRESSROOM_ITEM_TASK_RUNS": str(self.item_runs).lower(),
        }
