"""Failures grouped by cause, and trying them again."""

from dataclasses import asdict

from console.desk import trail
from console.desk.visit import Visit
from console.record import Record
from lib.errors import Invalid, NotFound
from lib.monitoring.stages import TAKES
from lib.monitoring.store import decisions, failures, processes

MOST_GROUPS = 200
STAGE_OF: dict[str, str] = {status: stage for stage, status in TAKES.items()}


async def groups(visit: Visit, *, process: str | None = None, limit: int = 50) -> Record:
    """The failed and what waits after an error, by cause; the most frequent first.

    `sent`: how many of a group were sent to the site before; a retry of these reads back first.
    """
    if not 1 <= limit <= MOST_GROUPS:
        raise Invalid(f"The limit must be from 1 to {MOST_GROUPS}", "limit")
    async with visit.database.session() as session:
        process_id = None if process is None else (await processes.by_name(session, visit.sees, process)).id
        found = await failures.groups(session, visit.sees, process_id, limit)
    records = [asdict(group) | {"stage": STAGE_OF.get(group.status)} for group in found]
    return {
        "failed": [record for record in records if record["state"] == "failed"],
        "waiting": [record for record in records if record["state"] == "waiting"],
    }


async def retry_group(visit: Visit, key: str, *, limit: int | None = None, process: str | None = None) -> Record:
    """Put the comments of a group back to where they failed, or let those that wait be tried at once.

    `sent_before`: how many of them are looked for on the site first, so that nothing is posted twice. Raise NotFound
    for a group of which nothing is left.
    """
    if limit is not None and limit < 1:
        raise Invalid("The limit must be at least 1", "limit")
    async with visit.database.session() as session:
        process_id = None if process is None else (await processes.by_name(session, visit.sees, process)).id
        await decisions.act_as(session, visit.user_id)
        done = await failures.retry(session, visit.sees, key, process_id, limit)
        woken = await failures.wake(session, visit.sees, key, process_id, limit)
        retried = (*done.changed, *woken.changed)
        if not retried:
            raise NotFound("Nothing is left of this group that can be tried again")
        details = {"group": key, "retried": len(retried), "sent_before": len(done.sent), "process": process}
        await trail.note(session, visit, "comment.retry", None, details)
    return {"retried": len(retried), "sent_before": len(done.sent)}
