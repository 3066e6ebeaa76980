"""Comments: the list of all, and one with everything that ever happened to it."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response

from console.desk import comments, review, sheets
from console.desk.review import Choice
from console.desk.sheets import Asked
from console.pages import prefect
from console.pages.language import Language, language_of
from console.pages.rendering import redirect, render
from console.record import Record
from console.security.actor import Actor, Operator, Viewer, visit_of
from lib.errors import Conflict, Invalid
from lib.monitoring.stages import CommentStatus
from lib.monitoring.store.choosing import ApprovalFilter
from lib.monitoring.store.history import Attempt
from lib.monitoring.store.scope import as_id

router = APIRouter(prefix="/comments")

Text = Annotated[str, Form()]
STATUSES: tuple[CommentStatus, ...] = ("discovered", "prepared", "generated", "posted", "failed")
APPROVALS: tuple[ApprovalFilter, ...] = ("none", "approved", "rejected")
RUN = "flow run "
PERSON = "user "
WEB = ("http://", "https://")


@router.get("")
async def listed(
    request: Request,
    actor: Viewer,
    process: Annotated[str, Query(max_length=40)] = "",
    status: Literal["", "discovered", "prepared", "generated", "posted", "failed"] = "",
    approval: Literal["", "none", "approved", "rejected"] = "",
    after: UUID | None = None,
) -> Response:
    """An empty filter is none, as forms send it."""
    process_id = as_id(process) if process else None
    if process and process_id is None:
        raise Invalid("The filter names no process", "process")
    asked = Asked(process_id, status or None, approval or None, after)
    found = await sheets.list_sheet(visit_of(request, actor), asked)
    chosen = {"process": process, "status": status, "approval": approval}
    return render(
        request,
        "comments.html",
        **found,
        chosen=chosen,
        after=after,
        statuses=STATUSES,
        approvals=APPROVALS,
        query={name: value for name, value in chosen.items() if value},
    )


async def _page(request: Request, actor: Actor, comment_id: UUID, **more: Any) -> Response:
    found = await sheets.comment_sheet(visit_of(request, actor), comment_id)
    attempts = [step for step in found["steps"] if isinstance(step, Attempt)]
    context = {
        "comment": found,
        "steps": [_step(step) for step in found["steps"]],
        "last": attempts[-1] if attempts else None,
        "spent": _spent(attempts),
        "site_page": _on_site(found),
        "may": _allowed(found) if actor.may("operator") else frozenset(),
        "why": None,
    }
    return render(request, "comment.html", **(context | more))


def _step(step: Any) -> Record:
    """With who did it taken apart: a person's name, or a run and where it is shown."""
    actor = getattr(step, "actor", None) or ""
    run = getattr(step, "flow_run_id", None) or (actor.removeprefix(RUN) if actor.startswith(RUN) else None)
    return {
        "attempt": isinstance(step, Attempt),
        "it": step,
        "person": actor.removeprefix(PERSON) if actor.startswith(PERSON) else None,
        "run": run,
        "run_page": prefect.page_of(run),
    }


def _spent(attempts: list[Attempt]) -> Record:
    costs = [attempt.cost for attempt in attempts if attempt.cost is not None]
    return {
        "calls": len(attempts),
        "tokens": sum(attempt.input_tokens + attempt.output_tokens for attempt in attempts),
        "estimated": any(attempt.tokens_estimated for attempt in attempts),
        "cost": sum(costs) if costs else None,
    }


def _on_site(found: Record) -> str | None:
    """The article's page there, at our comment once it is posted. Only an address of the web is made a link."""
    url = str(found["article"]["url"])
    if not url.startswith(WEB):
        return None
    id_ = found["site_comment_id"] or ""
    return f"{url}#comment-{id_}" if id_.isdigit() else url


def _allowed(found: Record) -> frozenset[str]:
    """What a person can do with it as it is."""
    if found["in_work"]:
        return frozenset()
    match found["status"]:
        case "generated":
            decided = {"approved": {"reject"}, "rejected": {"approve"}}.get(found["approval"] or "")
            more = set() if found["sent"] else {"edit", "regenerate"}
            return frozenset((decided or {"approve", "reject"}) | more)
        case "failed":
            again = {"regenerate"} if found["failed_from"] == "prepared" and not found["sent"] else set()
            return frozenset({"retry"} | again)
        case _:
            return frozenset()


@router.get("/{comment_id}")
async def comment(request: Request, actor: Viewer, comment_id: UUID) -> Response:
    return await _page(request, actor, comment_id)


@router.post("/{comment_id}/{decision}")
async def decide(
    request: Request,
    actor: Operator,
    comment_id: UUID,
    decision: Literal["approve", "reject", "retry"],
    version: Text = "",
) -> Response:
    """On the comment as the person saw it."""
    visit = visit_of(request, actor)
    spoken = language_of(request)
    if decision == "retry":
        try:
            await comments.decide(visit, "retry", [str(comment_id)])
        except Conflict as error:
            return await _page(request, actor, comment_id, why=spoken.sentence(error), status_code=409)
        return _back(request, comment_id, spoken.gettext("It is tried again at the next run of its stage."))
    choices = [Choice(str(comment_id), version or None)]
    [ruled] = await (review.approve if decision == "approve" else review.reject)(visit, choices)
    if ruled["outcome"] not in ("done", "already"):
        why = _ruled(spoken, ruled)
        return await _page(request, actor, comment_id, why=why, status_code=409)
    return _back(request, comment_id, _ruled(spoken, ruled))


def _ruled(spoken: Language, ruled: Record) -> str:
    _ = spoken.gettext
    match ruled["outcome"], ruled["approval"]:
        case "done", "approved":
            return _("It is approved.")
        case "done", _other:
            return _("It is rejected, and is not posted.")
        case "already", _other:
            return _("%(name)s had decided so already.") % {"name": ruled["by"] or _("Somebody")}
        case "changed", _other:
            return _("It changed since you looked. This is what it is now: look again, then decide.")
        case _other:
            return spoken.sentence(ruled["message"])


def _back(request: Request, comment_id: UUID, words: str) -> Response:
    return redirect(request, f"/comments/{comment_id}", words)
