"""Logins: the accounts on a site, tried out for real. What opens them is never shown again."""

import asyncio
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from pydantic import BaseModel

from console.desk import given, holdings
from console.desk import logins as desk
from console.desk.logins import LoginChange
from console.desk.visit import Visit
from console.pages.language import language_of
from console.pages.rendering import fragment, is_htmx, redirect, render
from console.pages.trying import tried
from console.pages.typed import WHOLE_FORM, errors_of, status_of
from console.record import Record
from console.security.actor import Operator, Viewer, visit_of
from lib.errors import Conflict, NotFound, PressroomError, Transient

router = APIRouter(prefix="/logins")

# A log-in is a handful of requests to a site that may be slow.
SECONDS = 45.0
FORM = "login_form.html"


class LoginForm(BaseModel):
    """As it was typed. Without a username or password those that are there stay."""

    name: str = ""
    base_url: str = ""
    username: str = ""
    password: str = ""
    is_active: bool = False
    test: bool = False
    version: str = ""

    def shown(self) -> Record:
        return self.model_dump(exclude={"password"})


Typed = Annotated[LoginForm, Form()]


@router.get("")
async def listed(request: Request, actor: Viewer) -> Response:
    return render(request, "logins.html", logins=await holdings.logins(visit_of(request, actor)))


@router.get("/new")
async def new(request: Request, actor: Operator) -> Response:
    del actor
    return _form(request, None, LoginForm(is_active=True, test=True).shown())


@router.post("/new")
async def add(request: Request, actor: Operator, typed: Typed) -> Response:
    """Nothing is saved when the log-in that was asked for does not work."""
    visit = visit_of(request, actor)
    try:
        made = await _added(visit, typed)
    except PressroomError as error:
        return _form(request, None, typed.shown(), status_of(error), errors=_wrong(request, error))
    words = language_of(request).gettext("The login “%(name)s” is saved.") % {"name": made["name"]}
    return redirect(request, f"/logins/{made['id']}", words)


async def _added(visit: Visit, typed: LoginForm) -> Record:
    try:
        async with asyncio.timeout(SECONDS):
            return await desk.add(
                visit, typed.name, typed.base_url, typed.username, lambda: typed.password, test=typed.test
            )
    except TimeoutError as error:
        raise Transient(f"There was no answer within {SECONDS:.0f} seconds{given.NOT_SAVED}") from error


@router.get("/{login_id}")
async def one(request: Request, actor: Viewer, login_id: UUID) -> Response:
    return await _page(request, visit_of(request, actor), login_id)


@router.post("/{login_id}")
async def change(request: Request, actor: Operator, login_id: UUID, typed: Typed) -> Response:
    visit = visit_of(request, actor)
    wanted = LoginChange(
        name=typed.name,
        base_url=typed.base_url,
        username=typed.username or None,
        password=(lambda: typed.password) if typed.password else None,
        is_active=typed.is_active,
    )
    try:
        done = await desk.change(visit, str(login_id), wanted, typed.version)
    except NotFound:
        raise
    except PressroomError as error:
        errors = _wrong(request, error)
        return await _page(request, visit, login_id, status_of(error), typed=typed.shown(), errors=errors)
    words = language_of(request).gettext("The login “%(name)s” is saved.") % {"name": done["name"]}
    return redirect(request, f"/logins/{login_id}", words)


@router.post("/{login_id}/test")
async def test(request: Request, actor: Operator, login_id: UUID) -> Response:
    """Log in for real. What waited for the login goes on when that works."""
    visit = visit_of(request, actor)
    trial = await tried(request, desk.test(visit, str(login_id)), SECONDS)
    before = await holdings.login(visit, login_id)
    woken = trial.works and (before["next_login_at"] is not None or before["failed_logins"] > 0)
    if woken:
        await desk.change(visit, str(login_id), LoginChange())
    if is_htmx(request):
        return fragment(request, FORM, "result", trial=trial, woken=woken)
    return await _page(request, visit, login_id, trial=trial, woken=woken)


@router.post("/{login_id}/remove")
async def remove(request: Request, actor: Operator, login_id: UUID) -> Response:
    visit = visit_of(request, actor)
    try:
        done = await desk.remove(visit, str(login_id))
    except Conflict as error:
        return await _page(request, visit, login_id, status_of(error), errors=_wrong(request, error))
    words = language_of(request).gettext("The login “%(name)s” is removed.") % {"name": done["removed"]}
    return redirect(request, "/logins", words)


def _wrong(request: Request, error: PressroomError) -> dict[str, str]:
    """A log-in that failed says that nothing was saved, as a page says it."""
    said, not_saved, _ = str(error).partition(given.NOT_SAVED)
    if not not_saved:
        return errors_of(request, error)
    spoken = language_of(request)
    return {WHOLE_FORM: f"{spoken.gettext('Nothing was saved, because the log-in failed:')} {spoken.sentence(said)}"}


async def _page(
    request: Request, visit: Visit, login_id: UUID, status_code: int = 200, *, typed: Record | None = None, **more: Any
) -> Response:
    """`typed` takes the place of what is saved; the version stays the one that the person saw."""
    login = await holdings.login(visit, login_id)
    shown = {name: login[name] for name in ("name", "base_url", "is_active", "version")} | {"username": ""}
    return _form(request, login, typed or shown, status_code, **more)


def _form(request: Request, login: Record | None, typed: Record, status_code: int = 200, **more: Any) -> Response:
    context: dict[str, Any] = {"login": login, "typed": typed, "trial": None, "woken": False}
    return render(request, FORM, status_code=status_code, **(context | more))
