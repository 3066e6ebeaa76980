"""The audit log, for administrators: who did what, and when."""

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from console.api import audit as api
from console.api.audit import EntryDocument
from console.pages.language import Language, language_of
from console.pages.rendering import render
from console.pages.typed import id_of
from console.record import Record
from console.security.actor import Admin
from console.security.state import console_of
from lib.people import members

router = APIRouter(prefix="/audit")

PAGE = 50
# Of what there are entries, as the filter names it.
KINDS = (
    ("process", "Processes"),
    ("comment", "Comments"),
    ("comparison", "Comparisons"),
    ("login", "Logins"),
    ("provider", "Providers"),
    ("template", "Templates"),
    ("user", "People"),
    ("token", "API tokens"),
    ("alert", "Alerts"),
    ("webhook", "Webhook"),
)
ACTIONS = {
    "process.add": "added the process",
    "process.change": "changed the process",
    "process.start": "started the process",
    "process.stop": "stopped the process",
    "process.run": "had a stage run now of the process",
    "process.remove": "removed the process",
    "comment.approve": "approved a comment",
    "comment.reject": "rejected a comment",
    "comment.reset": "took a decision back",
    "comment.edit": "edited a comment",
    "comment.regenerate": "had a comment written anew",
    "comment.retry": "had failed comments tried again",
    "comparison.add": "began a comparison",
    "comparison.start": "started a comparison",
    "comparison.remove": "removed a comparison",
    "login.add": "added the login",
    "login.change": "changed the login",
    "login.remove": "removed the login",
    "provider.add": "added the provider",
    "provider.change": "changed the provider",
    "provider.remove": "removed the provider",
    "template.add": "added the template",
    "template.change": "changed the template",
    "template.remove": "removed the template",
    "user.invite": "invited a person",
    "user.invite_link": "made a new invitation for",
    "user.reset_link": "made a link for a new password for",
    "user.role": "changed the role of",
    "user.activate": "activated a person",
    "user.deactivate": "deactivated a person",
    "user.password": "changed their password",
    "user.sign_in": "signed in",
    "user.sign_in_failed": "failed to sign in",
    "user.log_out": "signed out",
    "user.log_out_everywhere": "signed out everywhere",
    "user.first_admin_link": "made the link for the first administrator",
    "user.first_admin": "became the first administrator",
    "user.accept_invitation": "accepted the invitation",
    "user.reset_password": "set a new password by a link",
    "token.make": "made the API token",
    "token.revoke": "revoked the API token",
    "alert.send": "had an alert sent again",
    "alerts.resume": "had alerts sent to the webhook again",
}
# Where a thing has a page of its own.
PAGES = {
    "process": "/processes/",
    "comment": "/comments/",
    "login": "/logins/",
    "provider": "/providers/",
    "template": "/templates/",
    "alert": "/alerts/",
}
_LONGEST = 200


@router.get("")
async def audit(
    request: Request,
    actor: Admin,
    person: Annotated[str, Query(max_length=40)] = "",
    kind: Annotated[str, Query(max_length=40)] = "",
    after: UUID | None = None,
) -> Response:
    who = id_of(person)
    found = await api.entries(request, actor, limit=PAGE, after=after, actor_user_id=who, subject_kind=kind or None)
    spoken = language_of(request)
    people = await members.everybody(console_of(request).database)
    return render(
        request,
        "audit.html",
        entries=[_entry(spoken, each) for each in found.items],
        people=[(each.id, each.name) for each in people],
        kinds=[(name, spoken.gettext(words)) for name, words in KINDS],
        person=who,
        kind=kind,
        after=after,
        next=found.next,
    )


def _entry(spoken: Language, entry: EntryDocument) -> Record:
    details = dict(entry.details)
    name = details.pop("name", None)
    changed = details.pop("changed", {})
    page = PAGES.get(entry.subject_kind) if entry.subject_id and not entry.action.endswith(".remove") else None
    return {
        "at": entry.at,
        "who": entry.actor_name,
        "via": entry.via,
        "address": entry.address,
        "action": entry.action,
        "words": spoken.gettext(ACTIONS[entry.action]) if entry.action in ACTIONS else entry.action,
        "name": name,
        "link": f"{page}{entry.subject_id}" if page else None,
        "subject_id": entry.subject_id,
        "changes": [_change(column, values) for column, values in changed.items()] if _is_object(changed) else [],
        "details": [(key, _short(value)) for key, value in details.items()],
    }


def _change(column: str, values: Any) -> tuple[str, str | None, str | None]:
    """The column, what it was and what it is; of a secret only that it is another one."""
    match values:
        case [before, now]:
            return column, _short(before), _short(now)
        case _:
            return column, None, None


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _short(value: Any) -> str:
    text = "–" if value is None else str(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
