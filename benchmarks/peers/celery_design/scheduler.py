"""Every beat: spawn each stage of each running process whose last task is done."""

# mypy: disable-error-code="untyped-decorator, no-any-return"
import asyncio
from typing import Any
from uuid import UUID

from celery.result import AsyncResult
from celery_design import stages
from celery_design.app import app
from clients import running_processes
from sqlalchemy import text

from lib.database import Database
from lib.settings import settings

TASKS = {
    "discovery": stages.discover_articles,
    "preparation": stages.prepare_content_of_articles,
    "generation": stages.generate_comments_for_articles,
    "posting": stages.post_comments_for_articles,
}
RUNS = ("PENDING", "STARTED", "RETRY")
TABLE = """CREATE TABLE IF NOT EXISTS celery_stage_tasks
    (process_id uuid, stage text, task_id text, PRIMARY KEY (process_id, stage))"""
NOTE = """INSERT INTO celery_stage_tasks VALUES (:process_id, :stage, :task_id)
    ON CONFLICT (process_id, stage) DO UPDATE SET task_id = excluded.task_id"""


@app.task(name="trigger_monitoring_pipeline")
def trigger_monitoring_pipeline() -> dict[str, int]:
    """Return how many were spawned and how many are running still."""
    return asyncio.run(_trigger())


async def _trigger() -> dict[str, int]:
    async with Database(settings().database_url or "", pool_size=1) as database:
        processes = await running_processes(database)
        known = await _known(database)
        spawned: list[dict[str, Any]] = []
        skipped = 0
        for process_id in processes:
            for stage, task in TASKS.items():
                last = known.get((process_id, stage))
                if last is not None and AsyncResult(last, app=app).state in RUNS:
                    skipped += 1
                    continue
                made = task.delay(str(process_id))
                spawned.append({"process_id": process_id, "stage": stage, "task_id": made.id})
        await _note(database, spawned)
    return {"spawned": len(spawned), "skipped": skipped}


async def _known(database: Database) -> dict[tuple[UUID, str], str]:
    async with database.session() as session:
        await session.execute(text(TABLE))
        rows = await session.execute(text("SELECT process_id, stage, task_id FROM celery_stage_tasks"))
        return {(row.process_id, row.stage): row.task_id for row in rows}


async def _note(database: Database, spawned: list[dict[str, Any]]) -> None:
    if spawned:
        async with database.session() as session:
            await session.execute(text(NOTE), spawned)
