"""`/metrics` in Prometheus' text format: what waits and what was done, and the console's own requests.

Read by a Prometheus on this machine as it is; by others with an API token, or by everybody where
PRESSROOM_METRICS_PUBLIC=true. Names of processes and providers are for those who may see everybody's.
"""

import asyncio
import ipaddress
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Counter, GCCollector, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.measures import Snapshot, families
from console.security.actor import actor_or_none, bearer_of
from console.security.errors import Forbidden, NotSignedIn
from console.security.state import Console, console_of
from lib.database import will_pass
from lib.monitoring.store import metrics as store
from lib.people.store import accounts

log = structlog.get_logger()
router = APIRouter()

KEPT_SECONDS = 5.0
READ_WITHIN = 5.0
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STATIC = "/static/"
_PASSED_ON = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Traffic:
    """What the console was asked. One of its own for each application, so that two do not share their numbers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        self._requests = Counter(
            "pressroom_http_requests",
            "Requests by the template of their route.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "pressroom_http_request_duration_seconds",
            "From the request to the end of its answer.",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)


class TrafficMiddleware:
    """Counts and times each request, whatever becomes of it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            traffic: Traffic = scope["app"].state.metrics.traffic
            traffic.note(method, _route(scope), status, time.perf_counter() - began)


def _route(scope: Scope) -> str:
    """The template, never the address: whoever asks could fill the memory with addresses."""
    path = getattr(scope.get("route"), "path", None)
    if path is None:
        return "/static" if scope["path"].startswith(_STATIC) else "none"
    return str(path)


@dataclass
class Metrics:
    """The numbers of the console's own, and what was last read from the database."""

    traffic: Traffic = field(default_factory=Traffic)
    _snapshot: Snapshot | None = None
    _until: float = 0.0
    _reading: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def snapshot(self, console: Console) -> Snapshot:
        """At most `KEPT_SECONDS` old. While the database is away it says so, and holds nothing else of it."""
        async with self._reading:
            if self._snapshot is None or time.monotonic() >= self._until:
                self._snapshot = await _read(console)
                self._until = time.monotonic() + KEPT_SECONDS
            return self._snapshot


async def _read(console: Console) -> Snapshot:
    began = time.perf_counter()
    found: store.Figures | None = None
    try:
        async with asyncio.timeout(READ_WITHIN), console.database.session() as session:
            found = await store.read(session, console.settings.budget_timezone)
    except Exception as error:
        if not isinstance(error, TimeoutError) and not will_pass(error):
            raise
        log.warning("metrics.database_away", error=type(error).__name__)
    took = time.perf_counter() - began
    return Snapshot(found, console.database.figures(), console.database.pool_figures(), took)


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    named = await _may_see_names(request)
    mine: Metrics = request.app.state.metrics
    snapshot = await mine.snapshot(console_of(request))
    encode, media_type = choose_encoder(request.headers.get("Accept", ""))
    once = CollectorRegistry()
    once.register(_Families(snapshot, named=named))
    # OpenMetrics ends with a mark, which stands once.
    first = encode(mine.traffic.registry).removesuffix(b"# EOF\n")
    return Response(first + encode(once), headers={"Content-Type": media_type})


class _Families(Collector):
    """What the client's encoder takes."""

    def __init__(self, snapshot: Snapshot, *, named: bool) -> None:
        self._snapshot = snapshot
        self._named = named

    def collect(self) -> Iterator[Metric]:
        return families(self._snapshot, named=self._named)


async def _may_see_names(request: Request) -> bool:
    """Whether it is somebody who sees everybody's things. Raise NotSignedIn or Forbidden for who may read nothing."""
    console = console_of(request)
    if bearer_of(request) is None and (console.settings.metrics_public or _from_this_machine(request)):
        return True
    actor = await actor_or_none(request)
    if actor is None:
        raise NotSignedIn("Metrics take an API token, as `Authorization: Bearer …`")
    async with console.database.session() as session:
        is_admin = (await accounts.person(session, actor.user_id)).role == "admin"
    # A page in a browser is for administrators; a program's token was made to read.
    if not is_admin and actor.via == "session":
        raise Forbidden("Metrics take the role admin, or an API token")
    return is_admin


def _from_this_machine(request: Request) -> bool:
    """Not by way of a proxy on it, which passes on what others ask."""
    if request.client is None or any(name in request.headers for name in _PASSED_ON):
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False
