"""The form of a process: a new one, or one that does not run."""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, TypeVar
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict

from console.desk import processes, sheets
from console.desk.processes import STATES, ProcessChange
from console.desk.sites import site_choices
from console.pages import typed
from console.pages.language import language_of
from console.pages.rendering import redirect, render
from console.record import Record
from console.security.actor import Actor, Operator, visit_of
from lib.errors import Conflict, Invalid, NotFound, PressroomError

router = APIRouter(prefix="/processes")

T = TypeVar("T")
USUAL_MINUTES = "60"
SITE_FIELDS = ("tab", "category", "task")


class ProcessForm(BaseModel):
    """As it was typed; every value a text, so that it can be shown again."""

    model_config = ConfigDict(extra="ignore")

    name: str = ""
    description: str = ""
    logins: list[str] = []
    templates: list[str] = []
    provider: str = ""
    fallback: str = ""
    tab: str = ""
    category: str = ""
    task: str = ""
    search: str = ""
    state: str = "publiziert"
    limit: str = ""
    posts: str = "no"
    hide_comments: bool = False
    max_minutes: str = ""
    budget_tokens: str = ""
    budget_money: str = ""
    version: str = ""


Typed = Annotated[ProcessForm, Form()]


def _as_typed(found: Record) -> ProcessForm:
    """The process as its form shows it."""
    ids = found["part_ids"]
    texts = {name: found[name] or "" for name in ("name", "description", *SITE_FIELDS, "search", "state", "version")}
    return ProcessForm(
        **texts,
        logins=[str(id_) for id_ in ids["logins"]],
        templates=[str(id_) for id_ in ids["templates"]],
        provider=str(ids["provider"] or ""),
        fallback=str(ids["fallback"] or ""),
        limit=str(found["limit"] or ""),
        posts="yes" if found["posts"] else "no",
        hide_comments=found["hide_comments"],
        max_minutes=str(found["max_minutes"]),
        budget_tokens=typed.plain(found["budget_tokens"]),
        budget_money=typed.plain(found["budget_money"]),
    )


def _wanted(form: ProcessForm) -> tuple[ProcessChange | None, list[Invalid]]:
    """What the desk is to do; or everything that is wrong at once, as far as it can be told without it."""
    wrong: list[Invalid] = []

    def read(how: Callable[[], T]) -> T | None:
        try:
            return how()
        except Invalid as error:
            wrong.append(error)
            return None

    limit = read(lambda: typed.whole(form.limit, "The number of articles", "limit"))
    minutes = read(lambda: typed.whole(form.max_minutes, "The time", "max_minutes"))
    tokens = read(lambda: typed.whole(form.budget_tokens, "The budget", "budget_tokens"))
    money = read(lambda: typed.amount(form.budget_money, "The budget", "budget_money"))
    if minutes is None and not form.max_minutes.strip():
        wrong.append(Invalid("The time is missing", "max_minutes"))
    wrong += [
        Invalid("A budget cannot be below 0; leave it empty for none", name)
        for name, value in (("budget_tokens", tokens), ("budget_money", money))
        if value is not None and value < 0
    ]
    if wrong:
        return None, wrong
    return ProcessChange(
        logins=form.logins,
        templates=form.templates,
        provider=form.provider or None,
        description=form.description,
        tab=form.tab,
        category=form.category,
        task=form.task,
        search=form.search,
        state=form.state,
        limit=limit or 0,
        post=form.posts == "yes",
        hide_comments=form.hide_comments,
        max_minutes=minutes,
        name=form.name,
        fallback=form.fallback,
        budget_tokens=-1 if tokens is None else tokens,
        budget_money=Decimal(-1) if money is None else money,
    ), []


async def _page(
    request: Request, actor: Actor, process_id: UUID | None, form: ProcessForm | None, **more: Any
) -> Response:
    found = await sheets.form_sheet(visit_of(request, actor), process_id)
    there = found["process"]
    shown = form or (_as_typed(there) if there else ProcessForm(max_minutes=USUAL_MINUTES))
    context = found | {"form": shown, "states": STATES, "site": None, "live": _reads_site(shown, more)}
    return render(request, "process_form.html", **(context | more))


def _reads_site(form: ProcessForm, more: dict[str, Any]) -> bool:
    """At once; unless what was typed there is wrong, and the reason stands beside it."""
    return bool(form.logins) and not any(name in more.get("errors", {}) for name in SITE_FIELDS)


def _errors(request: Request, wrong: list[PressroomError]) -> dict[str, str]:
    found: dict[str, str] = {}
    for error in reversed(wrong):
        found |= typed.errors_of(request, error)
    return found


@router.get("/new")
async def new(request: Request, actor: Operator) -> Response:
    return await _page(request, actor, None, None)


@router.get("/site-choices")
async def choices(
    request: Request,
    actor: Operator,
    logins: Annotated[list[str] | None, Query()] = None,
    tab: str = "",
    category: str = "",
    task: str = "",
) -> Response:
    """What the site of the first chosen login offers, as a part of the form; fields to type in if it cannot be read."""
    site: Record | None = None
    if logins:
        try:
            site = await site_choices(visit_of(request, actor), logins[0])
        except NotFound as error:
            site = {"tabs": None, "reason": str(error), "categories": [], "tasks": [], "login": ""}
    form = ProcessForm(logins=logins or [], tab=tab, category=category, task=task)
    return render(request, "process_site.html", form=form, site=site, live=False)


@router.post("/new")
async def add(request: Request, actor: Operator, form: Typed) -> Response:
    wanted, wrong = _wanted(form)
    if wanted is None:
        return await _page(request, actor, None, form, errors=_errors(request, [*wrong]), status_code=422)
    try:
        done = await processes.add(visit_of(request, actor), form.name, wanted)
    except Invalid as error:
        status = typed.status_of(error)
        return await _page(request, actor, None, form, errors=_errors(request, [error]), status_code=status)
    words = language_of(request).gettext("“%(name)s” is made. It does nothing until you start it.")
    return redirect(request, f"/processes/{done['id']}", words % {"name": done["name"]})


@router.get("/{process_id}/edit")
async def edit(request: Request, actor: Operator, process_id: UUID) -> Response:
    return await _page(request, actor, process_id, None)


@router.post("/{process_id}/edit")
async def change(request: Request, actor: Operator, process_id: UUID, form: Typed) -> Response:
    """Of a process that is still as the form showed it."""
    visit = visit_of(request, actor)
    wanted, wrong = _wanted(form)
    wrong += _emptied(await sheets.form_sheet(visit, process_id), form)
    if wanted is None or wrong:
        return await _page(request, actor, process_id, form, errors=_errors(request, [*wrong]), status_code=422)
    try:
        done = await processes.change(visit, str(process_id), wanted, form.version or None)
    except NotFound as error:
        if error.field is None:
            raise
        return await _page(request, actor, process_id, form, errors=_errors(request, [error]), status_code=422)
    except Invalid as error:
        stale = isinstance(error, Conflict) and error.field is None
        errors = _errors(request, [error])
        status = typed.status_of(error)
        return await _page(request, actor, process_id, form, errors=errors, stale=stale, status_code=status)
    words = language_of(request).gettext("“%(name)s” is saved.")
    return redirect(request, f"/processes/{process_id}", words % {"name": done["name"]})


def _emptied(sheet: Record, form: ProcessForm) -> list[Invalid]:
    """What a process has may be exchanged, but not taken away."""
    have = sheet["process"]["part_ids"]
    kinds = {"logins": "login", "templates": "template", "provider": "provider"}
    return [
        Invalid(f"It has a {word} already: choose at least one", name)
        for name, word in kinds.items()
        if have[name] and not getattr(form, name)
    ]
