"""Signing in and out, and the one-time link that sets a password."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from console.pages.language import language_of
from console.pages.rendering import redirect, render
from console.security import sessions
from console.security.actor import Anyone, doer_of
from console.security.state import address_of, console_of
from lib.errors import Invalid, NotFound
from lib.people import own, passwords, sign_in
from lib.people.sign_in import SignedIn
from lib.people.throttle import Throttled

router = APIRouter()

HOME = "/"
_LONGEST_NEXT = 2000
Text = Annotated[str, Form()]


def safe_next(address: str) -> str:
    """A page of ours and nothing else: not another site, not a script."""
    ours = address.startswith("/") and not address.startswith("//") and "\\" not in address
    return address if ours and address.isprintable() and len(address) <= _LONGEST_NEXT else HOME


@router.get("/login")
async def form(request: Request, actor: Anyone, next: str = HOME) -> Response:  # noqa: A002 - as addresses say it
    if actor is not None:
        return RedirectResponse(safe_next(next), status_code=303)
    return render(request, "login.html", name="", next=safe_next(next), error=None)


@router.post("/login")
async def log_in(
    request: Request,
    name: Text = "",
    password: Text = "",
    next: Text = HOME,  # noqa: A002 - as addresses say it
) -> Response:
    console = console_of(request)
    try:
        found = await sign_in.sign_in(console.database, name, password, address_of(request))
    except Throttled as error:
        made = _refused(request, name, next, _wait_words(request, error), 429)
        made.headers["Retry-After"] = f"{error.retry_after:.0f}"
        return made
    except Invalid as error:
        return _refused(request, name, next, language_of(request).sentence(error), 422)
    return _welcome(request, found, safe_next(next))


def _refused(request: Request, name: str, address: str, error: str, status: int) -> Response:
    return render(request, "login.html", status_code=status, name=name[:200], next=safe_next(address), error=error)


def _wait_words(request: Request, error: Throttled) -> str:
    words = language_of(request).gettext("Too many attempts failed. Try again in %(seconds)s seconds.")
    return words % {"seconds": f"{error.retry_after:.0f}"}


def _welcome(request: Request, found: SignedIn, address: str) -> Response:
    sessions.start(request, found.user_id, found.epoch)
    return RedirectResponse(address, status_code=303)


@router.post("/logout")
async def log_out(request: Request, actor: Anyone) -> Response:
    """The cookie is forgotten here, and worth nothing for whoever kept a copy."""
    session = getattr(request.state, "session", None)
    if actor is not None and session is not None:
        until = sessions.end_of(request, session)
        await own.log_out(console_of(request).database, doer_of(request, actor), actor.user_id, session.hash, until)
    sessions.drop(request)
    return redirect(request, "/login", language_of(request).gettext("You are signed out."))


@router.get("/setup/{token}")
async def link(request: Request, token: str) -> Response:
    try:
        found = await sign_in.look_at_link(console_of(request).database, token)
    except NotFound:
        return _used_up(request)
    return render(request, "setup.html", **_of_link(found.purpose, found.name, token))


@router.post("/setup/{token}")
async def set_password(
    request: Request, token: str, name: Text = "", password: Text = "", repeated: Text = ""
) -> Response:
    spoken = language_of(request)
    database = console_of(request).database
    try:
        found = await sign_in.look_at_link(database, token)
        passwords.check_repeated(password, repeated)
        given = name if found.purpose == "setup" else None
        entered = await sign_in.use_link(database, token, password, given, address_of(request))
    except NotFound:
        return _used_up(request)
    except Invalid as error:
        shown = name[:200] if found.purpose == "setup" else found.name
        errors = {error.field or "password": spoken.sentence(error)}
        context = _of_link(found.purpose, shown, token) | {"errors": errors}
        return render(request, "setup.html", status_code=422, **context)
    return _welcome(request, entered, HOME)


def _of_link(purpose: str, name: str, token: str) -> dict[str, Any]:
    return {"purpose": purpose, "name": name, "token": token, "shortest": passwords.SHORTEST}


def _used_up(request: Request) -> Response:
    return render(request, "setup.html", status_code=404, purpose=None, name="", token="", shortest=0)
