"""`pressroom up`, `deploy`, `health` and `db`: the whole, rather than one thing in it."""

import asyncio
import os
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from console.cli.edge import FAILED
from console.cli.output import AsJson, line, show, table

if TYPE_CHECKING:
    from deployments.apply import Change
    from lib.monitoring.health import Health
    from lib.settings import Settings

db = typer.Typer(no_args_is_help=True, help="The database's tables.")

Llm = Literal["real", "scripted"]
PoolType = Literal["pressroom", "process", "docker"]


def up(
    playground: Annotated[
        bool, typer.Option("--playground", help="With a local site, a model, and a process that posts there.")
    ] = False,
    llm: Annotated[Llm, typer.Option(help="The playground's model.")] = "real",
) -> None:
    """Start everything and stay; Ctrl-C stops it."""
    from deployments.up import up as run_all  # noqa: PLC0415 - quick start
    from lib.settings import settings  # noqa: PLC0415

    raise typer.Exit(asyncio.run(run_all(settings(), playground=playground, llm=llm)))


def deploy(
    pool_type: Annotated[
        PoolType, typer.Option(help="Who runs the flows: `pressroom up`, or a process or Docker worker of Prefect.")
    ] = "pressroom",
    as_json: AsJson = False,
) -> None:
    """Bring the database and Prefect to this version: tables, work pool, limits, deployments."""
    from console.cli.prefect_api import need_prefect  # noqa: PLC0415 - quick start
    from console.cli.visit import connected_settings  # noqa: PLC0415

    settings = connected_settings()
    need_prefect()
    revision, changes = asyncio.run(_deploy(settings, pool_type))
    rows = [{"kind": "tables", "name": revision[1], "outcome": "unchanged" if len(set(revision)) == 1 else "updated"}]
    rows += [{"kind": change.kind, "name": change.name, "outcome": change.outcome} for change in changes]

    def human() -> None:
        table(("What", "Name", "Outcome"), [tuple(row.values()) for row in rows], "")
        counts = Counter(row["outcome"] for row in rows)
        line(", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items())))

    show({"changes": rows}, human, as_json=as_json)


async def _deploy(settings: "Settings", pool_type: PoolType) -> tuple[tuple[str, str], list["Change"]]:
    revision = await _upgrade(settings)
    from deployments.apply import deploy as apply  # noqa: PLC0415 - with Prefect

    return revision, await apply(settings, pool_type=pool_type)


async def _upgrade(settings: "Settings") -> tuple[str, str]:
    """The revision before and after; “none” for a database without tables."""
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415 - quick start
    from sqlalchemy import Connection  # noqa: PLC0415

    from console.cli.visit import database_url, reaching  # noqa: PLC0415
    from lib import migrate  # noqa: PLC0415
    from lib.database import Database  # noqa: PLC0415

    def revision(connection: Connection) -> str:
        return MigrationContext.configure(connection).get_current_revision() or "none"

    async with Database(database_url(settings), pool_size=1) as database:
        with reaching():
            async with database.engine.connect() as connection:
                before = await connection.run_sync(revision)
        await migrate.upgrade(database)
        async with database.engine.connect() as connection:
            return before, await connection.run_sync(revision)


@db.command("upgrade")
def upgrade(as_json: AsJson = False) -> None:
    """Bring the tables to this version; nothing changes when they are there."""
    from console.cli.visit import connected_settings  # noqa: PLC0415 - quick start

    before, after = asyncio.run(_upgrade(connected_settings()))
    same = f"The tables are up to date ({after})."
    document = {"before": None if before == "none" else before, "after": after, "changed": before != after}
    words = same if before == after else f"The tables went from {before} to {after}."
    show(document, lambda: line(words), as_json=as_json)


def health(as_json: AsJson = False) -> None:
    """Say what is well and what is not; exit status 1 when something is not."""
    from console.cli.visit import connected_settings  # noqa: PLC0415 - quick start

    found = asyncio.run(_examine(connected_settings()))
    document = {"ok": found.ok, "checks": [asdict(check) for check in found.checks]}

    def human() -> None:
        rows = [(check.name, "well" if check.ok else "NOT WELL", check.detail) for check in found.checks]
        table(("What", "", "Found"), rows, "")

    show(document, human, as_json=as_json)
    if not found.ok:
        raise typer.Exit(FAILED)


async def _examine(settings: "Settings") -> "Health":
    from console.cli.visit import database_url  # noqa: PLC0415 - quick start
    from lib.database import Database  # noqa: PLC0415
    from lib.errors import Invalid  # noqa: PLC0415
    from lib.monitoring.health import Check, Health, examine  # noqa: PLC0415

    try:
        url = database_url(settings)
    except Invalid as error:
        return Health((Check("database", ok=False, detail=str(error)),))
    async with Database(url, pool_size=1) as database:
        return await examine(settings, database, os.environ.get("PREFECT_API_URL"))
