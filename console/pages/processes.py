"""One process: how it goes, its start and stop, its comments, its end."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response

from console.desk import processes, runs, sheets
from console.desk.given import version_of
from console.desk.sheets import Asked
from console.pages import prefect
from console.pages.language import Language, language_of
from console.pages.overview import minutes_left, stage_bar
from console.pages.rendering import redirect, render
from console.record import Record
from console.security.actor import Actor, Operator, Viewer, visit_of
from lib.errors import Conflict, Invalid, PressroomError
from lib.monitoring.stages import CommentStatus, Stage
from lib.monitoring.store.choosing import ApprovalFilter
from lib.monitoring.store.processes import STARTABLE

router = APIRouter(prefix="/processes")

Text = Annotated[str, Form()]
# Several comments share a status; people look for what they can do.
FILTERS: dict[str, tuple[CommentStatus | None, ApprovalFilter | None]] = {
    "all": (None, None),
    "discovered": ("discovered", None),
    "prepared": ("prepared", None),
    "to review": ("generated", "none"),
    "approved": ("generated", "approved"),
    "rejected": ("generated", "rejected"),
    "posted": ("posted", None),
    "failed": ("failed", None),
}


def asked(show: str, process_id: UUID | None, after: UUID | None) -> Asked:
    """Raise Invalid for a filter that is none."""
    if show not in FILTERS:
        raise Invalid(f"The filter must be one of {', '.join(FILTERS)}, not “{show[:40]}”", "show")
    status, approval = FILTERS[show]
    return Asked(process_id, status, approval, after)


def lacking(spoken: Language, missing: list[str]) -> list[str]:
    return [spoken.sentence(each) for each in missing]


def _how(spoken: Language, found: Record) -> dict[str, Any]:
    """What changes by itself."""
    bars = [stage_bar(spoken, stage) for stage in found["stages"]]
    shown = ("status", "stop_reason", "error", "counters", "errors", "comments", "budgets", "expires_at")
    moving = ("last_started_at", "last_success_at", "last_report", "last_error", "flow_run_id", "next_due_at")
    seen = [found[name] for name in shown]
    seen += [stage[name] for stage in found["stages"] for name in moving]
    minutes = minutes_left(found)
    posting_on = found["status"] != "running" and bool(found["posting_on"] or found["posts_in_work"])
    return {
        "process": found,
        "stages": list(zip(found["stages"], bars, strict=True)),
        "minutes_left": minutes,
        "missing": lacking(spoken, found["missing"]),
        "can_start": found["status"] in STARTABLE,
        "posting_on": posting_on,
        "run_page": prefect.page_of,
        "seen": {
            "mark": version_of(bars, minutes, posting_on, *seen),
            "status": "posting on" if posting_on else found["status"],
        },
    }


async def _page(
    request: Request, actor: Actor, process_id: UUID, show: str = "all", after: UUID | None = None, **more: Any
) -> Response:
    found = await sheets.process_sheet(visit_of(request, actor), process_id, asked(show, process_id, after))
    context = _how(language_of(request), found) | {"filters": FILTERS, "show": show, "after": after, "why": ()}
    return render(request, "process.html", **(context | {"prefect": prefect.page()} | more))


@router.get("/{process_id}")
async def process(
    request: Request, actor: Viewer, process_id: UUID, show: str = "all", after: UUID | None = None
) -> Response:
    return await _page(request, actor, process_id, show, after)


@router.get("/{process_id}/live")
async def live(request: Request, actor: Viewer, process_id: UUID, mark: str = "", status: str = "") -> Response:
    """What changed since this reader looked. Another state has other buttons: then the whole page is fetched."""
    found = await sheets.process_sheet(visit_of(request, actor), process_id, None)
    context = _how(language_of(request), found)
    if context["seen"]["mark"] == mark:
        return Response(status_code=204)
    if status and context["seen"]["status"] != status:
        return Response(status_code=204, headers={"HX-Refresh": "true"})
    return render(request, "process_live.html", **context)


@router.post("/{process_id}/start")
async def start(request: Request, actor: Operator, process_id: UUID) -> Response:
    """Tries every login and the provider first. What is missing or does not work is said on the process's own page."""
    spoken = language_of(request)
    try:
        done = await processes.start(visit_of(request, actor), str(process_id), check=True)
    except Conflict as error:
        return await _page(request, actor, process_id, why=[spoken.sentence(error)], status_code=409)
    except Invalid as error:
        return await _page(request, actor, process_id, why=_reasons(spoken, error), status_code=422)
    words = spoken.gettext("“%(name)s” runs for %(minutes)s minutes.")
    return _back(request, process_id, words % {"name": done["name"], "minutes": done["max_minutes"]})


def _reasons(spoken: Language, error: Invalid) -> list[str]:
    """One thing a line."""
    _, found, reasons = str(error).partition("it needs: ")
    return lacking(spoken, reasons.split("; ")) if found else [spoken.sentence(error)]


def _back(request: Request, process_id: UUID, words: str, kind: Literal["success", "warning"] = "success") -> Response:
    return redirect(request, f"/processes/{process_id}", words, kind)


@router.post("/{process_id}/stop")
async def stop(request: Request, actor: Operator, process_id: UUID, completed: Text = "") -> Response:
    """Returns when nothing more can be posted for it."""
    spoken = language_of(request)
    try:
        done = await processes.stop(visit_of(request, actor), str(process_id), completed=completed == "true")
    except Invalid:
        raise
    except PressroomError as error:
        return _back(request, process_id, spoken.sentence(error), "warning")
    words = spoken.gettext("“%(name)s” is stopped. Nothing more is posted for it.")
    return _back(request, process_id, words % {"name": done["name"]})


@router.post("/{process_id}/run/{stage}")
async def run(request: Request, actor: Operator, process_id: UUID, stage: Stage) -> Response:
    spoken = language_of(request)
    try:
        await runs.run_stage(visit_of(request, actor), str(process_id), stage)
    except PressroomError as error:
        return await _page(request, actor, process_id, why=[spoken.sentence(error)], status_code=409)
    words = spoken.gettext("The stage “%(stage)s” is asked to run; a worker takes it up within seconds.")
    return _back(request, process_id, words % {"stage": spoken.gettext(stage)})


@router.get("/{process_id}/delete")
async def ask_to_delete(request: Request, actor: Operator, process_id: UUID) -> Response:
    return await _delete_page(request, actor, process_id)


async def _delete_page(request: Request, actor: Actor, process_id: UUID, **more: Any) -> Response:
    found = await sheets.process_sheet(visit_of(request, actor), process_id, None)
    return render(request, "process_delete.html", **({"process": found, "typed": ""} | more))


@router.post("/{process_id}/delete")
async def delete(request: Request, actor: Operator, process_id: UUID, name: Text = "", version: Text = "") -> Response:
    """Only with its name typed, so that nobody deletes another one than they mean."""
    spoken = language_of(request)
    visit = visit_of(request, actor)
    row, _ = await processes.find(visit, str(process_id))
    try:
        if name.strip() != row.name:
            raise Invalid("This is not its name; type it as it stands above", "name")  # noqa: TRY301
        done = await processes.remove(visit, str(process_id), version or None)
    except Invalid as error:
        status = 409 if isinstance(error, Conflict) else 422
        errors = {error.field or "name": spoken.sentence(error)}
        return await _delete_page(request, actor, process_id, errors=errors, typed=name[:200], status_code=status)
    words = spoken.ngettext(
        "“%(name)s” is deleted, and with it the record of %(num)s comment.",
        "“%(name)s” is deleted, and with it the records of %(num)s comments.",
        done["comments_forgotten"],
    )
    return redirect(request, "/", words % {"name": done["removed"], "num": done["comments_forgotten"]})
