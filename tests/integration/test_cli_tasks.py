"""`pressroom tasks`, as a person meets it."""

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from typer.testing import CliRunner, Result

from console.cli.main import app
from lib.people.store.links import ensure_operator
from tests.integration.task_records import a_record, written
from tests.world import World


async def run(*arguments: str, **more: Any) -> Result:
    ended = await asyncio.to_thread(CliRunner().invoke, app, ["tasks", *arguments], **more)
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended


@pytest.fixture
async def me(world: World) -> UUID:
    """The user for whom commands act, with three records of today and one of long ago."""
    async with world.database.session() as session:
        owner = await ensure_operator(session)
    await written(
        world,
        [
            a_record(owner_id=owner),
            a_record("failed", owner_id=owner, task_name="read_back"),
            a_record("running", owner_id=owner),
            a_record(owner_id=UUID(int=5)),
            a_record(owner_id=owner, ago=40 * 86_400),
        ],
    )
    return owner


@pytest.mark.usefixtures("me")
async def test_records_figures_and_failures_are_listed() -> None:
    listed = json.loads((await run("list", "--json", "--hours", "2")).stdout)
    assert [row["task_name"] for row in listed["items"]].count("prepare_article") == 2
    assert listed["total_count"] == 3
    found = await run("list", "--task", "read_back", "--text", "answer")
    assert "The site did not answer" in found.stdout
    figures = json.loads((await run("metrics", "--json")).stdout)
    assert {row["task_name"]: row["total"] for row in figures["metrics"]} == {"prepare_article": 2, "read_back": 1}
    assert "read_back" in (await run("metrics")).stdout
    groups = json.loads((await run("failures", "--json")).stdout)
    assert [group["count"] for group in groups["failures"]] == [1]
    assert "lib/monitoring" in (await run("failures")).stdout


@pytest.mark.usefixtures("me")
async def test_old_records_are_dropped_and_exported(world: World, tmp_path: Path) -> None:
    place = tmp_path / "old"
    dropped = json.loads((await run("prune", "--export", str(place), "--json")).stdout)
    assert (dropped["days"], dropped["records"]) == (1, 1)
    [file] = dropped["files"]
    with gzip.open(file, "rt") as lines:
        assert [json.loads(each)["task_name"] for each in lines] == ["prepare_article"]
    async with world.database.session() as session:
        assert (await session.execute(text("SELECT count(*) FROM task_execution_logs"))).scalar_one() == 4


@pytest.mark.usefixtures("me")
async def test_to_keep_less_than_the_settings_say_is_asked_for() -> None:
    refused = await run("prune", "--days", "3", input="n\n")
    assert refused.exit_code == 1
    assert "Keep only 3 of 30 days?" in refused.stderr
    done = await run("prune", "--days", "3", "--yes")
    assert done.stdout == "Dropped 1 record of 1 day.\n"
