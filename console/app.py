"""The console: pages and API in one application, on one database.

A page is added as `console/pages/<page>.py` with `router = APIRouter()`, named in PAGES below; its template is in
`console/pages/templates/`, its German in `console/pages/locale/de.<page>.po`. A route of the API is added as
`console/api/<noun>.py`, also with `router = APIRouter()` and paths below /api/v1 such as "/logins", named in
console/api/nouns.py. A route names who may use it by the type of a parameter (`actor: Viewer`, `Operator`, `Admin` of
console.security.actor) and works with `visit_of(request, actor)`. Nothing else is needed: forms and cookies are
checked for every router, and an error that is raised becomes a problem document or an error page.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.websockets import WebSocket

from console import metrics
from console.api import description, health, monitoring_feed, problems
from console.api.nouns import API
from console.edge import UnexpectedErrorsMiddleware, answer, turn_away
from console.metrics import TrafficMiddleware
from console.pages import account, comment, overview, process_form, processes, prompt_templates, sign_in
from console.pages import alerts as alerts_page
from console.pages import audit as audit_page
from console.pages import compare as compare_page
from console.pages import documentation as documentation_page
from console.pages import failures as failures_page
from console.pages import logins as logins_page
from console.pages import people as people_page
from console.pages import providers as providers_page
from console.pages import review as review_page
from console.pages import task as task_page
from console.pages import task_retry as task_retry_page
from console.pages import tasks as tasks_page
from console.pages.rendering import STATIC
from console.pages.static_files import StaticFiles
from console.security import csrf
from console.security.cookies import CookieMiddleware
from console.security.headers import HeadersMiddleware
from console.security.limits import BodyLimitMiddleware
from console.security.serving import allowed_hosts
from console.security.signer import Signer
from console.security.state import Console
from lib import vault
from lib.database import Database
from lib.errors import Invalid, PressroomError
from lib.settings import Settings
from lib.taskwatch.hub import Hub

PAGES = (
    sign_in,
    account,
    people_page,
    documentation_page,
    review_page,
    failures_page,
    tasks_page,
    task_retry_page,
    task_page,
    compare_page,
    overview,
    process_form,
    processes,
    comment,
    logins_page,
    providers_page,
    prompt_templates,
    alerts_page,
    audit_page,
)

POOL = 5
# Everything else is a defect, or the database's.
ANSWERED = (PressroomError, HTTPException, RequestValidationError, WebSocketRequestValidationError)


def create_app(settings: Settings) -> FastAPI:
    """Raise Invalid when no database or no encryption key is set."""
    if settings.database_url is None:
        raise Invalid("PRESSROOM_DATABASE_URL is not set; `pressroom up` sets it for what it starts")
    url = settings.database_url
    signer = Signer(vault.read_keys(settings))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Database(url, pool_size=POOL) as database, Hub(url, database) as hub:
            app.state.console = Console(settings, database, signer)
            app.state.hub, app.state.places = hub, monitoring_feed.Places()
            yield

    app = FastAPI(
        title="Pressroom",
        summary="Content pipelines: what is watched, drafted, checked and published.",
        lifespan=lifespan,
        middleware=_middleware(settings),
        docs_url=None,  # its page would fetch scripts from elsewhere; /docs is a page of ours
        redoc_url=None,
        generate_unique_id_function=description.operation_id,
        exception_handlers=dict.fromkeys(ANSWERED, cast("Any", _answer)),
    )
    app.state.metrics = metrics.Metrics()
    app.state.last_look = health.LastLook()
    _include(app)
    description.describe(app)
    return app


def _middleware(settings: Settings) -> list[Middleware]:
    """The outermost first."""
    return [
        Middleware(TrafficMiddleware),
        Middleware(HeadersMiddleware),
        Middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(settings), www_redirect=False),
        Middleware(CookieMiddleware),
        Middleware(UnexpectedErrorsMiddleware),
        Middleware(BodyLimitMiddleware),
    ]


def _include(app: FastAPI) -> None:
    ours = [Depends(csrf.checked)]
    for noun in API:
        may_answer = getattr(noun, "RESPONSES", problems.RESPONSES)
        app.include_router(noun.router, prefix="/api/v1", dependencies=ours, responses=may_answer)
    app.include_router(monitoring_feed.router, prefix="/api/v1", dependencies=ours)
    app.include_router(health.probes, include_in_schema=False)
    app.include_router(metrics.router, include_in_schema=False)
    for page in PAGES:
        app.include_router(page.router, dependencies=[*ours, Depends(csrf.no_program)], include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")


async def _answer(request: Request | WebSocket, error: Exception) -> Response | None:
    if isinstance(request, WebSocket):
        await turn_away(request, error)
        return None
    return answer(request, error)
