"""Records of tasks, as a recorder writes them, for the tests that look at them."""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import uuid_utils.compat

from lib.taskwatch.store import writing
from lib.taskwatch.store.writing import Beat
from tests.world import World

ENDED = ("success", "failed", "abandoned")


def id_of(moment: datetime) -> UUID:
    """A UUID of version 7 as it would have been made then."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | secrets.randbits(12) << 64 | 2 << 62 | secrets.randbits(62))


def a_record(status: str = "success", *, ago: float = 60, took: float = 120.0, **more: Any) -> dict[str, Any]:
    """One that was made so many seconds ago; it took so many milliseconds."""
    made = datetime.now(UTC) - timedelta(seconds=ago)
    found = {
        "id": id_of(made),
        "created_at": made.isoformat(),
        "task_name": "prepare_article",
        "run_name": "prepare “Der Rotpanda”",
        "kind": "item",
        "status": status,
        "parameters": {"item": {"title": "Der Rotpanda"}},
        "attempt": 1,
    }
    if status != "pending":
        found["started_at"] = made.isoformat()
    if status in ENDED:
        found |= {"completed_at": (made + timedelta(milliseconds=took)).isoformat(), "duration_ms": took}
    if status in ("failed", "abandoned"):
        found |= {
            "error_type": "Transient",
            "error_message": "The site did not answer within 5 s",
            "error_traceback": "Traceback (most recent call last):\n  …\nTransient: The site did not answer within 5 s",
            "place": "lib/monitoring/mymoment.py:fetch",
            "cause": "The site did not answer within … s",
            "fingerprint": "f1",
        }
    return found | more


async def written(world: World, records: Iterable[dict[str, Any]], **beat: int) -> list[UUID]:
    """Their ids. `beat`: what their recorder dropped, holds back (`waiting`) or has in its file (`spilled`)."""
    given = list(records)
    async with world.database.session() as session:
        who = Beat(uuid_utils.compat.uuid7(), "host", 1, **beat)
        await writing.write(session, given, who)
    return [each["id"] for each in given]
