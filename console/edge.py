"""Where errors end: in a problem document for programs, in a page or a line of one for people."""

from urllib.parse import quote

import structlog
from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.api import problems
from console.api.problems import Problem
from console.pages.rendering import is_htmx, render
from console.security.errors import NotSignedIn
from lib.database import will_pass

log = structlog.get_logger()

_PROGRAMS = ("/api/", "/health", "/healthz", "/metrics", "/openapi.json", "/static/")


def answer(request: Request, error: Exception) -> Response:
    """The response to an error."""
    problem = problems.problem_of(error)
    if request.url.path.startswith(_PROGRAMS):
        return problems.response(problem)
    if isinstance(error, NotSignedIn):
        return _to_sign_in(request)
    return _page(request, problem)


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
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_and_see(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, send_and_see)
        except Exception as error:  # the last place where one can be caught
            # The route, not the address: that may hold a one-time token.
            route = getattr(scope.get("route"), "path", None)
            where = {"method": scope["method"], "route": route}
            if will_pass(error):
                log.warning("console.database_away", **where, error=type(error).__name__)
            else:
                log.exception("console.unexpected_error", **where)
            if started:
                raise
            await answer(Request(scope, receive), error)(scope, receive, send)
