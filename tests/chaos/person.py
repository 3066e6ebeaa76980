"""Somebody who decides on the comments that wait for it, whatever else happens."""

import asyncio
import random

from lib.database import Database, will_pass
from lib.monitoring.store.decisions import approve, reject
from tests.chaos import rows
from tests.chaos.ground import Ground

REJECTED = 0.15
PAUSE = 0.5


class Person:
    """Approves most, rejects some. What was answered as done goes into the ground's `decided`."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground

    async def decide(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(random.uniform(0, 2 * PAUSE))

    async def look(self) -> None:
        """Decide on what waits now; with the database away nothing was decided, or nobody was told so."""
        try:
            async with self._ground.database() as database:
                await self._look(database)
        except Exception as error:
            if not will_pass(error):
                raise

    async def _look(self, database: Database) -> None:
        for row in await rows.rows(database, rows.WAITING):
            decide, decision = (reject, "rejected") if random.random() < REJECTED else (approve, "approved")
            async with database.session() as session:
                [ruling] = await decide(session, None, row["user_id"], {row["id"]: row["updated_at"]})
            if ruling.outcome == "done":
                self._ground.decided[str(row["id"])] = decision
