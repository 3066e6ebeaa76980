"""Alerts: the relay by which Prefect reports causes, and for administrators what became of them."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from console.api.paging import After, Limit, Page
from console.desk import alerts as desk
from console.security.actor import Admin, doer_of, visit_of
from console.security.errors import NotSignedIn
from console.security.state import console_of
from lib.alerts import relay, store
from lib.alerts.causes import Report

router = APIRouter(prefix="/alerts", tags=["alerts"])


class AlertRecord(BaseModel):
    """One cause. `status` is about telling it: recorded, pending, delivered or dead."""

    id: UUID
    kind: str
    subject: str
    title: str
    details: dict[str, Any]
    first_seen_at: datetime
    last_seen_at: datetime
    seen_count: int
    resolved_at: datetime | None
    status: str
    attempts: int
    next_attempt_at: datetime | None
    delivered_at: datetime | None
    error_message: str | None


class AttemptRecord(BaseModel):
    """One attempt to tell it; without `ended_at` it is under way, or its worker died."""

    id: UUID
    started_at: datetime
    ended_at: datetime | None
    http_status: int | None
    error_message: str | None


class AlertWithAttempts(AlertRecord):
    """An alert, and each attempt to tell it."""

    attempted: list[AttemptRecord]


class WebhookRecord(BaseModel):
    """Where alerts go: the host, for the address may hold a secret. `stopped`: why nothing is sent there."""

    host: str | None
    stopped: str | None


class Reported(BaseModel):
    """The alert of the cause, and whether it is a new one."""

    id: UUID
    is_new: bool


async def _from_prefect(request: Request) -> None:
    """Raise NotSignedIn for anybody who has not the relay's secret; a person's token is none."""
    if not relay.is_ours(console_of(request).settings, request.headers.get("Authorization")):
        raise NotSignedIn("The relay takes reports of Prefect's automations only")


@router.post("/relay", dependencies=[Depends(_from_prefect)], include_in_schema=False)
async def report_cause(request: Request, report: Report) -> Reported:
    """One alert a cause: what is known already is only counted."""
    console = console_of(request)
    url = console.settings.alert_webhook_url
    async with console.database.session() as session:
        recorded = await store.record(
            session,
            report.cause,
            deliver=url is not None and bool(url.get_secret_value()),
            quiet=console.settings.alert_quiet,
            hold=report.hold,
        )
    return Reported(id=recorded.id, is_new=recorded.is_new)


@router.get("")
async def list_alerts(
    request: Request,
    actor: Admin,
    limit: Limit = 50,
    after: After = None,
    only_open: Annotated[bool, Query(description="Only what is not over.")] = False,
) -> Page[AlertRecord]:
    """What was found wrong, the newest first."""
    found = await desk.listed(visit_of(request, actor), limit=limit, after=after, only_open=only_open)
    following = None if found["next"] is None else str(found["next"])
    return Page(items=[AlertRecord(**each) for each in found["alerts"]], next=following)


@router.get("/webhook")
async def read_webhook(request: Request, actor: Admin) -> WebhookRecord:
    """Where alerts go, and whether they do."""
    return WebhookRecord(**await desk.webhook(visit_of(request, actor)))


@router.post("/webhook/resume")
async def resume_sending(request: Request, actor: Admin) -> WebhookRecord:
    """Send to the webhook again although it answered 410."""
    return WebhookRecord(**await desk.resume(visit_of(request, actor), doer_of(request, actor)))


@router.get("/{alert_id}")
async def read_alert(request: Request, actor: Admin, alert_id: UUID) -> AlertWithAttempts:
    """With each attempt to tell it."""
    return AlertWithAttempts(**await desk.show(visit_of(request, actor), alert_id))


@router.post("/{alert_id}/send", status_code=202)
async def send_alert_again(request: Request, actor: Admin, alert_id: UUID) -> AlertWithAttempts:
    """Put one that is dead, or was only recorded, in the queue. The receiver sees the same webhook-id as before."""
    return AlertWithAttempts(**await desk.send(visit_of(request, actor), doer_of(request, actor), alert_id))
