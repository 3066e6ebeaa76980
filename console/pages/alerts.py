"""Alerts, for administrators: what is wrong now and what was, and whether anybody was told."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from console.api import alerts as api
from console.api.alerts import AlertRecord, WebhookRecord
from console.pages.language import language_of
from console.pages.rendering import redirect, render
from console.record import Record
from console.security.actor import Actor, Admin
from console.security.state import console_of
from lib.errors import Conflict, Invalid

router = APIRouter(prefix="/alerts")

PAGE = 50
MOST_OPEN = 200
KINDS = {
    "flow_run.failed": "A flow run failed",
    "flow_run.crashed": "A flow run crashed",
    "stage.silent": "A stage has no success",
    "process.stopped": "A process stopped by itself",
    "budget.warning": "A budget is nearly used up",
    "budget.exhausted": "A budget is used up",
    "login.refused": "A login stopped working",
    "health.ill": "Something is not well",
}
# What became of telling it: its class and its word.
STATES = {
    "recorded": ("stopped", "only recorded"),
    "pending": ("waiting", "is being delivered"),
    "delivered": ("done", "delivered"),
    "dead": ("failed", "not delivered"),
}
_SENDABLE = ("dead", "recorded")


@router.get("")
async def alerts(request: Request, actor: Admin, after: UUID | None = None) -> Response:
    now = [] if after else (await api.list_alerts(request, actor, MOST_OPEN, None, only_open=True)).items
    page = await api.list_alerts(request, actor, PAGE, after, only_open=False)
    before = [alert for alert in page.items if alert.resolved_at is not None]
    return render(
        request,
        "alerts.html",
        now=[_shown(request, alert) for alert in now],
        before=[_shown(request, alert) for alert in before],
        after=after,
        next=page.next,
        **await _webhook(request, actor),
    )


@router.post("/webhook/resume")
async def resume(request: Request, actor: Admin) -> Response:
    await api.resume_sending(request, actor)
    return redirect(request, "/alerts", language_of(request).gettext("Alerts are sent to the webhook again."))


@router.get("/{alert_id}")
async def one(request: Request, actor: Admin, alert_id: UUID) -> Response:
    alert = await api.read_alert(request, actor, alert_id)
    webhook = await _webhook(request, actor)
    sendable = alert.status in _SENDABLE and webhook["webhook"].host is not None
    return render(
        request, "alert.html", alert=_shown(request, alert), attempts=alert.attempted, sendable=sendable, **webhook
    )


@router.post("/{alert_id}/send")
async def send(request: Request, actor: Admin, alert_id: UUID) -> Response:
    spoken = language_of(request)
    try:
        await api.send_alert_again(request, actor, alert_id)
    except Conflict as error:
        return redirect(request, f"/alerts/{alert_id}", spoken.sentence(error), "error")
    return redirect(request, f"/alerts/{alert_id}", spoken.gettext("The alert is sent with the next deliveries."))


async def _webhook(request: Request, actor: Actor) -> dict[str, Any]:
    """Where alerts go; a setting that cannot be used is said, not raised."""
    if (url := console_of(request).settings.alert_webhook_url) is None or not url.get_secret_value():
        return {"webhook": WebhookRecord(host=None, stopped=None), "wrong": None}
    try:
        return {"webhook": await api.read_webhook(request, actor), "wrong": None}
    except Invalid as error:
        return {"webhook": WebhookRecord(host=None, stopped=None), "wrong": language_of(request).sentence(error)}


def _shown(request: Request, alert: AlertRecord) -> Record:
    spoken = language_of(request)
    colour, state = STATES.get(alert.status, ("", alert.status))
    due = alert.next_attempt_at is not None and alert.next_attempt_at <= datetime.now(UTC)
    return alert.model_dump() | {
        "is_due": due,
        "words": spoken.gettext(KINDS.get(alert.kind, alert.kind)),
        "colour": colour,
        "state": spoken.gettext(state),
        "title": spoken.sentence(alert.title),
    }
