"""The figures of each task, from what the triggers counted: as quick at ten million records as at none."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from lib.database import Executor
from lib.taskwatch.models import EVERYBODY

POINTS = 24  # of a sparkline
_PER_MINUTE = 24  # hours of a window below which an hour is too wide for a point
# The middle of a bin, from which both its ends are equally far: see `task_bin`.
_BIN = 1.08


@dataclass(frozen=True)
class TaskMetrics:
    """One task over a window of hours. Times in milliseconds, over successes; None where there are none.

    `pending` and `running` are those of now. `total`: them and what ended within the window. `success_rate`: percent
    of what ended. `oldest_pending`: since when the oldest waits. The percentiles are 4 % off at most; of more than an
    hour, their window begins at the nearest full one.
    """

    task_name: str
    total: int
    pending: int
    running: int
    success: int
    failed: int
    abandoned: int
    avg_duration_ms: float | None
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    success_rate: float | None
    oldest_pending: datetime | None


async def metrics(executor: Executor, sees: UUID | None, hours: int) -> list[TaskMetrics]:
    """Each task that did something in the last so many hours, or has something to do, by name."""
    given = {"hours": hours, "sees": sees, "binned": sees or EVERYBODY}
    rows = await executor.execute(_METRICS, given)
    return [_metrics(row[0], tuple(row[1:4]), tuple(row[4:8]), tuple(row[8:])) for row in rows]


async def sparklines(executor: Executor, sees: UUID | None, hours: int) -> dict[str, list[tuple[int, int]]]:
    """By task, 24 equal parts of the window, oldest first: how many succeeded, and how many did not."""
    statement = _BY_MINUTE if hours < _PER_MINUTE else _BY_HOUR
    lines: dict[str, list[tuple[int, int]]] = {}
    for name, point, success, rest in await executor.execute(statement, {"hours": hours, "sees": sees}):
        lines.setdefault(name, [(0, 0)] * POINTS)[point] = (success, rest)
    return lines


def _metrics(
    name: str,
    active: tuple[int | None, int | None, datetime | None],
    counts: tuple[int | None, int | None, int | None, float | None],
    bins: tuple[int | None, int | None, int | None],
) -> TaskMetrics:
    pending, running, oldest = active
    success, failed, abandoned = (each or 0 for each in counts[:3])
    ended = success + failed + abandoned
    p50, p95, p99 = (None if each is None else 2 * _BIN**each / (_BIN + 1) for each in bins)
    return TaskMetrics(
        task_name=name,
        total=(pending or 0) + (running or 0) + ended,
        pending=pending or 0,
        running=running or 0,
        success=success,
        failed=failed,
        abandoned=abandoned,
        avg_duration_ms=(counts[3] or 0) / success if success else None,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        success_rate=100 * success / ended if ended else None,
        oldest_pending=oldest,
    )


_SINCE = "date_trunc('minute', now()) - make_interval(hours => :hours)"
_SEEN = "(CAST(:sees AS uuid) IS NULL OR owner_id = :sees)"
_METRICS = text(f"""
WITH span AS MATERIALIZED (
    SELECT since, date_trunc('hour', since + interval '59 minutes 59 seconds', 'UTC') AS full_hour,
        CASE WHEN :hours > 1 THEN date_trunc('hour', since + interval '30 minutes', 'UTC')
            ELSE 'infinity' END AS near_hour
    FROM (SELECT {_SINCE} AS since) s
), counts AS (
    SELECT task_name, CAST(sum(success) AS bigint) AS success, CAST(sum(failed) AS bigint) AS failed,
        CAST(sum(abandoned) AS bigint) AS abandoned, sum(duration_ms) AS duration_ms
    FROM (
        SELECT task_name, owner_id, success, failed, abandoned, duration_ms FROM task_hours
        WHERE at >= (SELECT full_hour FROM span)
        UNION ALL
        SELECT task_name, owner_id, success, failed, abandoned, duration_ms FROM task_minutes
        WHERE at >= (SELECT since FROM span) AND at < (SELECT full_hour FROM span)
    ) c WHERE {_SEEN} GROUP BY task_name
), binned AS (
    SELECT task_name, bin, sum(count) AS n FROM (
        SELECT task_name, bin, count FROM task_minute_bins WHERE at >= (SELECT since FROM span) AND {_SEEN}
        UNION ALL
        SELECT task_name, bin, count FROM task_hour_bins WHERE owner_id = :binned AND at >= (SELECT near_hour FROM span)
            AND at < (SELECT date_trunc('day', near_hour + interval '23 hours 59 minutes', 'UTC') FROM span)
        UNION ALL
        SELECT task_name, bin, count FROM task_day_bins WHERE owner_id = :binned
            AND at >= (SELECT date_trunc('day', near_hour + interval '23 hours 59 minutes', 'UTC') FROM span)
    ) b GROUP BY 1, 2
), percentiles AS (
    SELECT task_name, min(bin) FILTER (WHERE upto >= 0.5 * n) AS p50, min(bin) FILTER (WHERE upto >= 0.95 * n) AS p95,
        min(bin) FILTER (WHERE upto >= 0.99 * n) AS p99
    FROM (SELECT task_name, bin, sum(n) OVER (PARTITION BY task_name ORDER BY bin) AS upto,
            sum(n) OVER (PARTITION BY task_name) AS n FROM binned) u
    GROUP BY task_name
), active AS (
    SELECT task_name, count(*) FILTER (WHERE status = 'pending') AS pending,
        count(*) FILTER (WHERE status = 'running') AS running,
        min(created_at) FILTER (WHERE status = 'pending') AS oldest
    FROM task_execution_logs WHERE status IN ('pending', 'running') AND {_SEEN} GROUP BY task_name
)
SELECT task_name, a.pending, a.running, a.oldest, c.success, c.failed, c.abandoned, c.duration_ms, p.p50, p.p95, p.p99
FROM counts c FULL JOIN active a USING (task_name) LEFT JOIN percentiles p USING (task_name) ORDER BY task_name
""")


def _points(unit: str, since: str) -> str:
    point = f"least(23, floor(extract(epoch FROM at - ({since})) * {POINTS} / (3600 * :hours)))"
    return (
        f"SELECT task_name, CAST({point} AS integer), CAST(sum(success) AS bigint),"
        f" CAST(sum(failed + abandoned) AS bigint) FROM task_{unit}s WHERE at >= {since} AND {_SEEN} GROUP BY 1, 2"
    )


_BY_MINUTE = text(_points("minute", _SINCE))
_BY_HOUR = text(_points("hour", "date_trunc('hour', now(), 'UTC') - make_interval(hours => :hours - 1)"))
