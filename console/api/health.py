"""Health: in words for whoever is signed in; `/healthz` and `/health` for probes, without a word about the inside."""

import asyncio
import os
import time
from dataclasses import asdict, dataclass, field

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel

from console.security.actor import Viewer
from console.security.state import console_of
from lib.monitoring.health import Health, examine

router = APIRouter(tags=["health"])
probes = APIRouter()

KEPT_SECONDS = 5.0


class CheckDocument(BaseModel):
    """One thing that is well or not."""

    name: str
    ok: bool
    detail: str


class HealthDocument(BaseModel):
    """Well when every check is."""

    ok: bool
    checks: list[CheckDocument]


@dataclass
class LastLook:
    """What was found for the probe, which anybody may ask; kept for so long that asking costs nothing."""

    _found: Health | None = None
    _until: float = 0.0
    _looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def health(self, request: Request) -> Health:
        """At most `KEPT_SECONDS` old."""
        async with self._looking:
            if self._found is None or time.monotonic() >= self._until:
                self._found = await _examined(request)
                self._until = time.monotonic() + KEPT_SECONDS
            return self._found


async def _examined(request: Request) -> Health:
    console = console_of(request)
    return await examine(console.settings, console.database, os.environ.get("PREFECT_API_URL"))


@router.get("/health")
async def health(request: Request, actor: Viewer) -> HealthDocument:
    """What is well, what is not, and why."""
    del actor
    found = await _examined(request)
    return HealthDocument(ok=found.ok, checks=[CheckDocument(**asdict(check)) for check in found.checks])


@probes.get("/healthz")
async def alive() -> Response:
    return PlainTextResponse("ok\n")


@probes.get("/health")
async def well(request: Request) -> Response:
    last: LastLook = request.app.state.last_look
    found = await last.health(request)
    checks = [{"name": check.name, "ok": check.ok} for check in found.checks]
    return JSONResponse({"ok": found.ok, "checks": checks}, status_code=200 if found.ok else 503)
