"""Bins of minutes become bins of hours and days, so that a week's percentiles are read from few rows."""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# A window of one hour is read from minutes alone.
KEEP_MINUTES = 65
# At most so many at once: writers wait for it.
AT_ONCE = 10


async def fold(session: AsyncSession) -> int:
    """Move the oldest minutes' bins to their hours and days; return how many rows, 0 when nothing is left to do."""
    await session.execute(text("SELECT pg_advisory_xact_lock(7310226)"))  # the writers' turn
    given = {"keep": KEEP_MINUTES, "at_once": AT_ONCE}
    return int((await session.execute(_FOLD, given)).scalar_one())


def _add(unit: str) -> str:
    return (
        f"INSERT INTO task_{unit}_bins AS t (at, task_name, owner_id, bin, count)"
        f" SELECT date_trunc('{unit}', at, 'UTC'), task_name, owner_id, bin, sum(count) FROM both_ways"
        " GROUP BY 1, 2, 3, 4"
        " ON CONFLICT (owner_id, at, task_name, bin) DO UPDATE SET count = t.count + excluded.count"
    )


_FOLD = text(
    "WITH gone AS ("
    " DELETE FROM task_minute_bins WHERE at < least("
    "   date_trunc('minute', now()) - make_interval(mins => :keep),"
    "   (SELECT min(at) FROM task_minute_bins) + make_interval(mins => :at_once))"
    " RETURNING *"
    "), both_ways AS ("
    " SELECT * FROM gone UNION ALL"
    " SELECT at, task_name, CAST('ffffffff-ffff-ffff-ffff-ffffffffffff' AS uuid), bin, count FROM gone"
    f"), hours AS ({_add('hour')}), days AS ({_add('day')})"
    " SELECT count(*) FROM gone"
)
