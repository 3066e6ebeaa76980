"""Changes come from our own pages only: a token bound to the session, and where the browser says the request is from.

A page's form carries `{{ csrf_field() }}`; htmx sends the header, which base.html sets for the whole body. A program
with an API token needs neither: no browser adds its token by itself.
"""

import re
import secrets

from fastapi import Request
from starlette.requests import HTTPConnection

from console.security import cookies
from console.security.actor import actor_or_none, bearer_of
from console.security.errors import Forbidden, NotSignedIn
from console.security.state import console_of

FIELD = "csrf_token"
HEADER = "X-CSRF-Token"
_PURPOSE = "csrf"
_VISITOR = "visitor"
_SAFE = ("GET", "HEAD", "OPTIONS")
_FOR_NOBODY = re.compile(r"/login|/setup/.*")


def token_of(request: Request) -> str:
    """For the forms of the page that is being made."""
    return console_of(request).signer.mark(_PURPOSE, _seed(request) or _new_visitor(request))


def _seed(request: Request) -> str | None:
    """The session's; before there is one, the visitor's."""
    session = getattr(request.state, "session", None)
    if session is not None:
        return str(session.seed)
    planted = getattr(request.state, "visitor", None) or cookies.read(request, _VISITOR)
    return f"visitor {planted}" if planted else None


def _new_visitor(request: Request) -> str:
    request.state.visitor = secrets.token_urlsafe(24)
    cookies.jar_of(request).set(_VISITOR, request.state.visitor, same_site="strict")
    return f"visitor {request.state.visitor}"


async def checked(connection: HTTPConnection) -> None:
    """Raise Forbidden for a change that does not come from a page of ours. Every router is included with this."""
    if bearer_of(connection) is not None:
        return
    if not isinstance(connection, Request):
        _check_socket(connection)
    elif connection.method not in _SAFE:
        await _check_change(connection)


def _check_socket(connection: HTTPConnection) -> None:
    """A browser opens a WebSocket for any site, with our cookies, and lets it read: only its Origin tells whose."""
    if "Origin" not in connection.headers or not _from_here(connection):
        raise Forbidden("This connection comes from another site")


async def _check_change(request: Request) -> None:
    if not _from_here(request):
        raise Forbidden("This request comes from another site")
    actor = await actor_or_none(request)
    if actor is None and not _FOR_NOBODY.fullmatch(request.url.path):
        raise NotSignedIn("Sign in first, or send an API token as `Authorization: Bearer …`")
    if not await _has_token(request):
        raise Forbidden("The form is of a session that has ended, or lacks its token; load the page again")


async def no_program(request: HTTPConnection) -> None:
    """Raise Forbidden for an API token. Every page is included with this: a token may do what the API offers."""
    if bearer_of(request) is not None:
        raise Forbidden("API tokens are for /api/v1; a page takes a session in a browser")


def _from_here(request: HTTPConnection) -> bool:
    """As far as the browser says: an old one says nothing."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = request.headers.get("Origin")
    scheme = "https" if request.url.scheme in ("https", "wss") else "http"
    here = f"{scheme}://{request.headers.get('Host', '')}"
    return origin is None or origin.lower() == here.lower()


async def _has_token(request: Request) -> bool:
    seed = _seed(request)
    if seed is None:
        return False
    given: object = request.headers.get(HEADER)
    if given is None and not request.url.path.startswith("/api/"):
        given = (await request.form()).get(FIELD)
    return isinstance(given, str) and console_of(request).signer.is_mark(_PURPOSE, seed, given)
