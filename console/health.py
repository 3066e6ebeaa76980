"""A small HTTP endpoint for probes: `/healthz` says that it lives, `/health` what is well and what is not."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from lib.database import Database
from lib.errors import Invalid
from lib.monitoring.health import examine
from lib.settings import Settings
from lib.settings import settings as read_settings


def create_app(settings: Settings) -> Starlette:
    """Raise Invalid when no database is set."""
    if settings.database_url is None:
        raise Invalid("PRESSROOM_DATABASE_URL is not set; `pressroom up` sets it for what it starts")
    database = Database(settings.database_url, pool_size=2)

    async def health(_: Request) -> Response:
        found = await examine(settings, database, os.environ.get("PREFECT_API_URL"))
        body = {"ok": found.ok, "checks": [asdict(check) for check in found.checks]}
        return JSONResponse(body, status_code=200 if found.ok else 503)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with database:
            yield

    return Starlette(routes=[Route("/healthz", healthz), Route("/health", health)], lifespan=lifespan)


def main() -> None:
    settings = read_settings()
    host = os.environ.get("PRESSROOM_CONSOLE_HOST", "127.0.0.1")
    uvicorn.run(create_app(settings), host=host, port=settings.console_port, log_level="warning")


if __name__ == "__main__":
    main()
