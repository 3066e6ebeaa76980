"""Where errors end: in a problem document for programs, in a page or a line of one for people."""

import contextlib
from urllib.parse import quote

import structlog
from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from console.api import problems
from console.api.problems import Problem
from console.pages.rendering import is_htmx, render
from console.security.errors import NotSignedIn
from lib.database import will_pass

log = structlog.get_logger()

_UNEXPECTED = 1011  # of a WebSocket, RFC 6455
_PROGRAMS = ("/api/", "/health", "/healthz", "/metrics", "/openapi.json", "/static/")


def answer(request: Request, error: Exception) -> Response:
    """The response to an error."""
    problem = problems.problem_of(error)
    if request.url.path.startswith(_PROGRAMS):
        return problems.response(problem)
    if isinstance(error, NotSignedIn):
        return _to_sign_in(request)
    return _page(request, problem)


async def turn_away(socket: WebSocket, error: Exception) -> None:
    """The same to a WebSocket that is not open yet: a problem document instead of the handshake's answer."""
    await socket.send_denial_response(problems.response(problems.problem_of(error)))


def _to_sign_in(request: Request) -> Response:
    """And back afterwards, to a page but not to a change."""
    address = "/login"
    if request.method == "GET" and not is_htmx(request):
        asked = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        address += f"?next={quote(asked, safe='')}"
    if is_htmx(request):
        return Response(status_code=401, headers={"HX-Redirect": address})
    return RedirectResponse(address, status_code=303)


def _page(request: Request, problem: Problem) -> Response:
    template = "error_part.html" if is_htmx(request) else "error.html"
    made = render(request, template, status_code=problem.status, problem=problem)
    made.headers.update(problem.all_headers)
    return made


class UnexpectedErrorsMiddleware:
    """What nobody expected is logged, and answered without a word about its inside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started = False

        async def send_and_see(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except Exception as error:  # the last place where one can be caught
            _log(scope, error)
            if scope["type"] == "websocket":
                await _end(WebSocket(scope, receive, send), error, started=started)
                return
            if started:
                raise
            await answer(Request(scope, receive), error)(scope, receive, send)


def _log(scope: Scope, error: Exception) -> None:
    # The route, not the address: that may hold a one-time token.
    route = getattr(scope.get("route"), "path", None)
    where = {"method": scope.get("method", scope["type"]), "route": route}
    if will_pass(error):
        log.warning("console.database_away", **where, error=type(error).__name__)
    else:
        log.error("console.unexpected_error", **where, exc_info=error)


async def _end(socket: WebSocket, error: Exception, *, started: bool) -> None:
    with contextlib.suppress(RuntimeError, OSError):  # it may be closed, or gone
        if started:
            await socket.close(_UNEXPECTED)
        else:
            await turn_away(socket, error)
