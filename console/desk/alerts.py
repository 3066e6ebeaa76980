"""Alerts, for administrators: what was found wrong, whether anybody was told, and where they go."""

from typing import Any
from uuid import UUID

from console.desk.visit import Visit
from console.record import Record
from lib.alerts import delivery, store
from lib.alerts.models import Alert
from lib.errors import Conflict
from lib.people.members import Doer, how
from lib.people.store import audit

FIELDS = (
    "id",
    "kind",
    "subject",
    "title",
    "details",
    "last_seen_at",
    "seen_count",
    "resolved_at",
    "status",
    "attempts",
    "next_attempt_at",
    "delivered_at",
    "error_message",
)
ATTEMPT = ("id", "started_at", "ended_at", "http_status", "error_message")


def record(alert: Alert) -> Record:
    return {name: getattr(alert, name) for name in FIELDS} | {"first_seen_at": alert.created_at}


async def listed(visit: Visit, *, limit: int, after: UUID | None = None, only_open: bool = False) -> Record:
    """The newest first, from behind `after` on."""
    async with visit.database.session() as session:
        found = await store.listed(session, limit=limit + 1, before=after, only_open=only_open)
    alerts = [record(alert) for alert in found[:limit]]
    return {"alerts": alerts, "next": alerts[-1]["id"] if len(found) > limit else None}


async def show(visit: Visit, alert_id: UUID) -> Record:
    """With each attempt to tell it. Raise NotFound."""
    async with visit.database.session() as session:
        alert, attempts = await store.read(session, alert_id)
    return record(alert) | {"attempted": [_attempt(each) for each in attempts]}


async def send(visit: Visit, by: Doer, alert_id: UUID) -> Record:
    """Put one that is dead, or was only recorded, in the queue. Raise NotFound, or Conflict for any other."""
    async with visit.database.session() as session:
        alert, attempts = await store.read(session, alert_id)
        if not await store.send_again(session, alert_id):
            raise Conflict(f"The alert is {alert.status}; only one that is dead or recorded can be sent again")
        await audit(session, by.user_id, "alert.send", "alert", alert_id, **how(by))
        await session.refresh(alert)
    return record(alert) | {"attempted": [_attempt(each) for each in attempts]}


async def webhook(visit: Visit) -> Record:
    """Where alerts go: the host, for the address may hold a secret. `stopped`: why nothing is sent there."""
    target = delivery.endpoint(visit.settings)
    if target is None:
        return {"host": None, "stopped": "PRESSROOM_ALERT_WEBHOOK_URL is not set"}
    async with visit.database.session() as session:
        return {"host": target.host, "stopped": await store.stopped(session, target.digest)}


async def resume(visit: Visit, by: Doer) -> Record:
    """Send to the webhook again although it answered 410. Raise Conflict when there is none."""
    target = delivery.endpoint(visit.settings)
    if target is None:
        raise Conflict("No webhook is set: PRESSROOM_ALERT_WEBHOOK_URL")
    async with visit.database.session() as session:
        if await store.resume_endpoint(session, target.digest):
            details = {"host": target.host}
            await audit(session, by.user_id, "alerts.resume", "webhook", details=details, **how(by))
    return {"host": target.host, "stopped": None}


def _attempt(attempt: Any) -> Record:
    return {name: getattr(attempt, name) for name in ATTEMPT}
