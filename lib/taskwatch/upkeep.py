"""What keeps the task monitoring in order, every half minute."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from lib.database import Database
from lib.taskwatch.store import feed, folding, writing

AHEAD = 7  # days
# Of a backlog; what is left comes half a minute later.
MOST_FOLDS = 100


@dataclass(frozen=True)
class Tidied:
    """What was done: partitions made, records given up, events deleted, bins moved."""

    partitions: int
    abandoned: int
    events: int
    bins: int


async def tidy_up(database: Database) -> Tidied:
    """Make the partitions of the next days, give up what dead workers left, and keep the tables small."""
    today = datetime.now(UTC).date()
    async with database.alone() as connection:
        partitions = await writing.ensure_partitions(
            connection, today - timedelta(days=1), today + timedelta(days=AHEAD)
        )
    async with database.session() as session:
        abandoned = await writing.abandon_dead(session)
    async with database.session() as session:
        events = await feed.prune(session)
    return Tidied(partitions, abandoned, events, await _fold(database))


async def _fold(database: Database) -> int:
    moved = 0
    for _ in range(MOST_FOLDS):
        async with database.session() as session:
            count = await folding.fold(session)
        moved += count
        if count == 0:
            break
    return moved
