"""Whether a worker's records are all there: the log says which of its turns ended, the table which it has."""

import asyncio
import re
import time
from collections.abc import Collection
from dataclasses import dataclass

from tests.chaos import rows, worker
from tests.chaos.ground import Ground

PATIENCE = 20.0


@dataclass(frozen=True)
class Kept:
    """Of the workers that nobody killed: turns that ended, how many of these met the outage, and what has no record."""

    workers: int
    ended: int
    met_it: int
    missing: tuple[str, ...]
    dropped: int


async def kept(ground: Ground, pids: Collection[int]) -> Kept:
    """What these have said by now, against what the table has soon."""
    said = {turn for turn in _said(ground) if turn[0] in pids}
    until = time.monotonic() + PATIENCE
    while True:
        have, dropped = await _recorded(ground, pids)
        missing = said - have.keys()
        if not missing or time.monotonic() > until:
            break
        await asyncio.sleep(0.2)
    names = tuple(f"turn {number} of worker {pid}" for pid, number in sorted(missing))
    return Kept(len(pids), len(said), sum(have.get(turn, False) for turn in said), names, dropped)


def _said(ground: Ground) -> list[tuple[int, int]]:
    """Process and number of each turn that ended. One that is killed may leave half a line."""
    ended = re.findall(rf"^{worker.ENDED} (\d+) (\d+)$", ground.log.read_text(errors="replace"), re.MULTILINE)
    return [(int(pid), int(number)) for pid, number in ended]


async def _recorded(ground: Ground, pids: Collection[int]) -> tuple[dict[tuple[int, int], bool], int]:
    """Of each turn with a record, whether PostgreSQL was away in its time; and how many records were given up."""
    begin, end = ground.away or (None, None)
    async with ground.database() as database:
        turns = await rows.rows(database, rows.TURNS, pids=list(pids), begin=begin, end=end)
        [recorders] = await rows.rows(database, rows.DROPPED, pids=list(pids))
    return {(row["pid"], row["number"]): bool(row["met"]) for row in turns}, int(recorders["number"])
