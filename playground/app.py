"""The whole outside world as one ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from playground.config import Config
from playground.control import Control, refused
from playground.faults.clients import Clients
from playground.faults.fault import NotAFaultError
from playground.faults.middleware import FaultMiddleware
from playground.faults.plan import FaultPlan
from playground.llm.models import Model
from playground.llm.real import RealModel, find_weights
from playground.llm.scripted import ScriptedModel
from playground.llm.views import Llm
from playground.site.pages import render
from playground.site.views import Site
from playground.store import Clock, Store, utc_now
from playground.traffic import Traffic

_STATIC = Path(__file__).parent / "static"
_SENTENCES = {
    403: "Die Anfrage wurde abgebrochen: Die CSRF-Prüfung ist fehlgeschlagen.",
    404: "Diese Seite gibt es nicht.",
}


def create_app(config: Config, clock: Clock = utc_now) -> Starlette:
    """The site, the model and the control endpoint over one state; `clock` says what time it is on the site."""
    model = _model(config)
    store, traffic, plan, clients = Store(config, clock), Traffic(), FaultPlan(), Clients()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        model.close()
        store.close()

    return Starlette(
        routes=[
            *Site(store, traffic).routes(),
            *Llm(model).routes(),
            *Control(store, traffic, plan, clients).routes(),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ],
        middleware=[
            # No other name may lead here, or a page elsewhere could read it by rebinding its own.
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"], www_redirect=False),
            Middleware(FaultMiddleware, store=store, traffic=traffic, plan=plan, clients=clients),
        ],
        exception_handlers={HTTPException: _problem, NotAFaultError: refused},
        lifespan=lifespan,
    )


def _model(config: Config) -> Model:
    if config.llm == "real":
        return RealModel(find_weights(), config.llm_max_tokens)
    return ScriptedModel(config.llm_latency)


def _problem(_: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    heading = f"{status} {HTTPStatus(status).phrase}"
    page = render("problem.html", heading=heading, sentence=_SENTENCES.get(status, "Das geht hier nicht."))
    return HTMLResponse(page, status, headers=getattr(error, "headers", None))
