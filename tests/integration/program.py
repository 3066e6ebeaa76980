"""A program that uses the console's API with a token."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest

from console.app import create_app
from lib.people.roles import Role
from lib.settings import Settings
from tests.integration.test_console_security import HOST, House
from tests.world import World

V1 = "/api/v1"
SCOPES: dict[Role, tuple[str, ...]] = {"viewer": ("read",), "operator": ("write",), "admin": ("admin",)}


@dataclass
class Program:
    """Asks below /api/v1."""

    client: httpx.AsyncClient
    user_id: UUID

    async def __call__(self, method: str, path: str, **more: Any) -> httpx.Response:
        return await self.client.request(method, V1 + path, **more)

    async def ok(self, method: str, path: str, json: Any = None, **headers: str) -> Any:
        """The document of an answer that is no error."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self(method, path, json=json, headers=named)
        assert response.is_success, (response.status_code, response.text)
        return response.json()

    async def no(self, status: int, method: str, path: str, json: Any = None, **headers: str) -> Any:
        """The problem document of this status."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await self(method, path, json=json, headers=named)
        assert response.status_code == status, (response.status_code, response.text)
        assert response.headers["Content-Type"] == "application/problem+json"
        problem = response.json()
        assert problem["status"] == status
        return problem


@dataclass
class Site(House):
    """The application with people who use it by token."""

    @asynccontextmanager
    async def program(self, name: str, role: Role = "operator") -> AsyncIterator[Program]:
        person = await self.person(name, role)
        transport = httpx.ASGITransport(self.app, client=("192.0.2.7", 1), raise_app_exceptions=False)
        bearer = await self.bearer(person, *SCOPES[role])
        async with httpx.AsyncClient(transport=transport, base_url=HOST, headers=bearer) as client:
            yield Program(client, person.id)


@pytest.fixture
async def site(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        yield Site(app, app.state.console.database)


@pytest.fixture
async def operator(site: Site) -> AsyncIterator[Program]:
    """The owner of what `World` makes."""
    async with site.program("operator") as program:
        yield program


@pytest.fixture
def things(settings: Settings, site: Site) -> World:
    """Of the operator, on a site that nobody serves."""
    return World(settings, site.database)
