"""Review: what a model wrote, beside its article, and a person's decision on it."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import Response

from console.desk import choices, given, review
from console.desk.review import Choice
from console.desk.visit import Visit
from console.pages.flash import Kind
from console.pages.language import Language, language_of
from console.pages.rendering import fragment, redirect, render
from console.record import Record
from console.security.actor import Actor, Operator, Viewer, visit_of
from lib.errors import Conflict, Invalid, NotFound
from lib.monitoring.guard import PREFIX
from lib.monitoring.store.choosing import ApprovalFilter

router = APIRouter(prefix="/review")

Text = Annotated[str, Form()]
Decision = Literal["approve", "reject"]
PER_PAGE = 25
APPROVALS = ("none", "approved", "rejected", "all")
WEB = ("http://", "https://")


@dataclass(frozen=True)
class Queue:
    """Which comments are gone through: those of a process or of every one, by what was decided on them."""

    process: str
    approval: str

    @property
    def filter(self) -> dict[str, Any]:
        approval = None if self.approval == "all" else cast("ApprovalFilter", self.approval)
        return {"process": self.process or None, "approval": approval}

    @property
    def query(self) -> str:
        """For addresses that stay in the queue."""
        return urlencode({"process": self.process, "approval": self.approval})

    def page(self, comment_id: UUID | None = None) -> str:
        return f"/review{'' if comment_id is None else f'/{comment_id}'}?{self.query}"


def _queue(process: str = "", approval: str = "none") -> Queue:
    given.one_of(approval, "The decision", APPROVALS, name="approval")
    return Queue(process, approval)


Asked = Annotated[Queue, Depends(_queue)]


async def _list_page(
    request: Request, actor: Actor, queue: Queue, *, after: str = "", results: tuple[Record, ...] = ()
) -> Response:
    visit = visit_of(request, actor)
    found = await review.listed(visit, **queue.filter, limit=PER_PAGE, after=after or None)
    return render(
        request,
        "review.html",
        queue=queue,
        approvals=APPROVALS,
        processes=await choices.processes(visit),
        after=after,
        results=results,
        **found,
    )


@router.get("")
async def waiting(request: Request, actor: Viewer, queue: Asked, after: str = "") -> Response:
    return await _list_page(request, actor, queue, after=after)


@router.get("/total")
async def total(request: Request, actor: Viewer, queue: Asked) -> Response:
    """The number alone, for the page that is open: its list stays as the person saw it."""
    found = await review.listed(visit_of(request, actor), **queue.filter, limit=1)
    return fragment(request, "review.html", "total", queue=queue, total=found["total"])


@router.post("/decide")
async def decide_several(
    request: Request,
    actor: Operator,
    queue: Asked,
    decision: Annotated[Decision, Form()],
    choice: Annotated[list[str] | None, Form()] = None,
    after: Text = "",
) -> Response:
    """Answered with the page itself, which says of each what became of it."""
    if not choice:
        words = language_of(request).gettext("Nothing is selected: tick the comments that you mean.")
        return redirect(request, queue.page(), words, "warning")
    act = review.approve if decision == "approve" else review.reject
    done = await act(visit_of(request, actor), [_choice(each) for each in choice])
    return await _list_page(request, actor, queue, after=after, results=tuple(done))


def _choice(text: str) -> Choice:
    """An id and a version. Raise Invalid."""
    comment, _, version = text.partition(":")
    if not version:
        raise Invalid("A selected comment lacks the version that was seen; load the page again")
    return Choice(comment, version)


async def _item_page(
    request: Request, actor: Actor, queue: Queue, comment_id: UUID, status_code: int = 200, **more: Any
) -> Response:
    visit = visit_of(request, actor)
    found = await review.one(visit, str(comment_id), **queue.filter)
    context = _shown(found, queue) | {
        "templates": await choices.templates(visit, found["owner_id"]),
        "longest_note": review.LONGEST_NOTE,
        "typed": found["body"] or "",
        "note": found["note"] or "",
        "chosen": "",
        "open": "",
    }
    return render(request, "review_item.html", status_code=status_code, **(context | more))


def _shown(found: Record, queue: Queue) -> Record:
    text = found["text"] or ""
    prefix = PREFIX if text.startswith(PREFIX) else ""
    url = found["article"]["url"]
    return {
        "queue": queue,
        "comment": found,
        "prefix": prefix,
        "rest": text.removeprefix(prefix).lstrip(),
        "always": PREFIX,
        "article_url": url if url.startswith(WEB) else None,
        "seen": found["version"],
    }


@router.get("/{comment_id}")
async def item(request: Request, actor: Viewer, queue: Asked, comment_id: UUID) -> Response:
    return await _item_page(request, actor, queue, comment_id)


@router.get("/{comment_id}/state")
async def state(request: Request, actor: Viewer, queue: Asked, comment_id: UUID, seen: str = "") -> Response:
    """What changes while the page is open: the state, and whether it is still the comment that is shown."""
    found = await review.one(visit_of(request, actor), str(comment_id), **queue.filter)
    return fragment(request, "review_item.html", "state", **(_shown(found, queue) | {"seen": seen}))


@router.post("/{comment_id}/approve")
async def approve(request: Request, actor: Operator, queue: Asked, comment_id: UUID, version: Text) -> Response:
    return await _decided(request, actor, queue, "approve", Choice(str(comment_id), version))


@router.post("/{comment_id}/reject")
async def reject(request: Request, actor: Operator, queue: Asked, comment_id: UUID, version: Text) -> Response:
    return await _decided(request, actor, queue, "reject", Choice(str(comment_id), version))


async def _decided(request: Request, actor: Actor, queue: Queue, decision: Decision, choice: Choice) -> Response:
    """On to the next one; back to this one when it has to be read again."""
    visit = visit_of(request, actor)
    act = review.approve if decision == "approve" else review.reject
    [ruling] = await act(visit, [choice])
    words = language_of(request).sentence(ruling["message"])
    if ruling["outcome"] == "unknown":
        raise NotFound(words)
    if ruling["outcome"] in ("done", "already"):
        said = language_of(request).gettext("“%(title)s”: %(what)s") % {"title": ruling["title"], "what": words}
        return await _next(
            request, visit, queue, ruling["id"], said, "success" if ruling["outcome"] == "done" else "warning"
        )
    return redirect(request, queue.page(UUID(choice.comment)), words, "error")


async def _next(
    request: Request, visit: Visit, queue: Queue, comment_id: UUID, say: str, kind: Kind = "success"
) -> Response:
    """To the one behind it, or the first again while something waits; else to the list."""
    found = await review.listed(visit, **queue.filter, limit=1, after=str(comment_id))
    if not found["comments"] and queue.approval == "none" and found["total"]:
        found = await review.listed(visit, **queue.filter, limit=1)
    following = found["comments"][0]["id"] if found["comments"] else None
    return redirect(request, queue.page(following), say, kind)


@router.post("/{comment_id}/edit")
async def edit(
    request: Request,
    actor: Operator,
    queue: Asked,
    comment_id: UUID,
    version: Text,
    text: Text = "",
    then: Text = "",
) -> Response:
    """`then` may be `approve`: what was saved is approved, unless somebody changed it in between."""
    typed = text.replace("\r\n", "\n")
    spoken = language_of(request)
    try:
        saved = await review.edit(visit_of(request, actor), str(comment_id), typed, version)
    except Invalid as error:
        status = 409 if isinstance(error, Conflict) else 422
        errors = {"text": _in_words(error, spoken)}
        return await _item_page(request, actor, queue, comment_id, status, errors=errors, typed=typed, open="edit")
    if then == "approve":
        return await _decided(request, actor, queue, "approve", Choice(str(comment_id), saved["version"]))
    return redirect(request, queue.page(comment_id), spoken.gettext("The new text is saved. It waits for approval."))


def _in_words(error: Invalid, spoken: Language) -> str:
    if not isinstance(error, review.Unfit):
        return spoken.sentence(error)
    why = "; ".join(spoken.sentence(finding.detail) for finding in error.findings)
    return spoken.gettext("The text cannot be saved: %(why)s") % {"why": why}


@router.post("/{comment_id}/regenerate")
async def regenerate(
    request: Request,
    actor: Operator,
    queue: Asked,
    comment_id: UUID,
    version: Text,
    template: Text = "",
    note: Text = "",
) -> Response:
    visit = visit_of(request, actor)
    spoken = language_of(request)
    try:
        await review.regenerate(visit, str(comment_id), template=template or None, note=note, version=version)
    except Invalid as error:
        status = 409 if isinstance(error, Conflict) else 422
        errors = {error.field if error.field in ("template", "note") else "template": spoken.sentence(error)}
        shown = {"errors": errors, "note": note, "chosen": template, "open": "regenerate"}
        return await _item_page(request, actor, queue, comment_id, status, **shown)
    words = spoken.gettext("It goes back to the model, and comes here again when there is a new answer.")
    return await _next(request, visit, queue, comment_id, words)
