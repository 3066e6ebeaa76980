"""Health: in words for whoever is signed in; `/healthz` and `/health` for probes, without a word about the inside."""

import os
from dataclasses import asdict

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel

from console.security.actor import Viewer
from console.security.state import console_of
from lib.monitoring.health import Health, examine

router = APIRouter(tags=["health"])
probes = APIRouter()


class CheckDocument(BaseModel):
    """One thing that is well or not."""

    name: str
    ok: bool
    detail: str


class HealthDocument(BaseModel):
    """Well when every check is."""

    ok: bool
    checks: list[CheckDocument]


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
    found = await _examined(request)
    checks = [{"name": check.name, "ok": check.ok} for check in found.checks]
    return JSONResponse({"ok": found.ok, "checks": checks}, status_code=200 if found.ok else 503)
