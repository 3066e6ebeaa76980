"""Every route of the console, as nobody, as a viewer and as another owner: what is not named here is closed to them.

A new route need not be added: it fails until it asks for a role. Its path parameters are ids of the first owner's.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, get_args, get_origin
from uuid import UUID

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIWebSocketRoute, iter_route_contexts
from pydantic import BaseModel
from sqlalchemy import text

from console.security import actor, csrf
from lib.monitoring import guard
from lib.people.roles import Role
from tests.integration import feeding
from tests.integration.program import Program, Site, operator, site, things
from tests.integration.test_console_security import HOST, Browser
from tests.world import World

__all__ = ["operator", "site", "things"]

# Whoever asks is answered; nothing of anybody's is shown.
PUBLIC = {
    "GET /openapi.json",
    "GET /docs",
    "GET /healthz",
    "GET /health",
    "GET /metrics",  # its own tests say to whom it shows what
    "GET /login",
    "POST /login",
    "GET /setup/{token}",
    "POST /setup/{token}",
    "POST /api/v1/alerts/relay",  # takes the relay's own secret
}
# What everybody does about their own account, viewers too.
OWN = {
    "POST /logout",
    "POST /account/password",
    "POST /account/log-out-everywhere",
    "POST /account/tokens",
    "POST /account/tokens/{token_id}/revoke",
    "POST /api/v1/tokens",
    "DELETE /api/v1/tokens/{token_id}",
}
# Whoever has such a group too may try it again; of one that nobody has, a page says that nothing is left.
SHARED = {"POST /failures/{key}/retry"}
ROLE_OF = {actor._viewer: "viewer", actor._operator: "operator", actor._admin: "admin"}
SAFE = ("GET", "HEAD")
TABLES = (
    "monitoring_processes",
    "mymoment_logins",
    "llm_provider_configurations",
    "prompt_templates",
    "ai_comments",
    "comparisons",
    "users",
    "accounts",
    "api_tokens",
    "task_execution_logs",
)


@dataclass(frozen=True)
class Route:
    """One method of one path. `role`: the least that it asks for; None asks for nobody."""

    method: str
    path: str
    role: str | None
    form: dict[str, Any] = field(compare=False, default_factory=dict)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def names(self) -> list[str]:
        return re.findall(r"\{(\w+)\}", self.path)

    @property
    def is_api(self) -> bool:
        return self.path.startswith("/api/")


def routes(app: FastAPI) -> Iterator[Route]:
    """Of the API, of the pages, and what else there is; but not what serves the files of the pages."""
    for found in iter_route_contexts(app.routes):
        if found.path == "/static":
            continue
        dependant = getattr(found, "dependant", None)
        asked = [] if dependant is None else [ROLE_OF[call] for call in called(dependant) if call in ROLE_OF]
        for method in sorted(set(found.methods or ()) - {"HEAD", "OPTIONS"}):
            form = {} if dependant is None else filled_in(dependant)
            yield Route(method, str(found.path), max(asked, key=list(get_args(Role)).index, default=None), form)


def called(dependant: Any) -> Iterator[Any]:
    yield dependant.call
    for each in dependant.dependencies:
        yield from called(each)


def filled_in(dependant: Any) -> dict[str, Any]:
    """A form in which everything that is needed says something."""
    made: dict[str, Any] = {}
    for each in dependant.body_params:
        kind = each.field_info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            needed = {name: it.annotation for name, it in kind.model_fields.items() if it.is_required()}
        else:
            needed = {each.alias: kind} if each.field_info.is_required() else {}
        made |= {name: something(annotation) for name, annotation in needed.items()}
    return made


def something(kind: Any) -> str:
    return str(get_args(kind)[0]) if get_origin(kind) is not None and get_args(kind) else "1"


@dataclass
class Owned:
    """What the first owner has, by the name of the path parameter that stands for it."""

    ids: dict[str, str]
    names: tuple[str, ...] = (
        "watch-of-first",
        "bot of watch",
        "model of watch",
        "friendly of watch",
        "Article 1",
        "run-of-first",
        "error-of-first",
    )

    def address(self, route: Route) -> str:
        unknown = [name for name in route.names if name not in self.ids]
        assert not unknown, f"{route}: say in `owned` which of the first owner's ids {unknown} are"
        return route.path.format(**self.ids)

    def shown_in(self, answered: httpx.Response) -> list[str]:
        """What of it the answer names, beside the ids that were asked for."""
        return [name for name in self.names if name in answered.text]


@pytest.fixture
async def owned(site: Site, operator: Program, things: World) -> Owned:
    """A running process with comments in several states, and everything that belongs to it."""
    process_id = await things.process("watch-of-first", logins=[await things.login("bot of watch")])
    content = {"comment_content": guard.with_prefix("Ein schöner Text über deinen Hund."), "article_content": "x"}
    [comment_id] = await things.comments(process_id, 1, "generated", **content)
    await things.template("another one")
    other = await things.process("failing-of-first", start=False)
    failed = {"error_message": "The site answered HTTP 503", "failed_from": "discovered"}
    await things.comments(other, 2, "failed", failed_at=datetime.now(UTC), **failed)
    process = await operator.ok("GET", f"/monitoring-processes/{process_id}")
    ids = process["part_ids"]
    async with site.database.session() as session:
        comparison = await session.execute(
            text(
                "INSERT INTO comparisons (id, user_id, template_a, template_b, provider_id) "
                "VALUES (gen_random_uuid(), :user, :a, :a, :provider) RETURNING id"
            ),
            {"user": operator.user_id, "a": UUID(ids["templates"][0]), "provider": UUID(ids["provider"])},
        )
        comparison_id = str(comparison.scalar_one())
    task = feeding.failed(owner_id=operator.user_id, run_name="run-of-first", error_message="error-of-first")
    await feeding.write(site.database, task, feeding.record(parent_id=task["id"], owner_id=operator.user_id))
    [group] = (await operator.ok("GET", "/failures"))["failed"]
    [token] = (await operator.ok("GET", "/tokens"))["tokens"]
    return Owned(
        {
            "process_id": str(process_id),
            "comment_id": str(comment_id),
            "login_id": ids["logins"][0],
            "provider_id": ids["provider"],
            "template_id": ids["templates"][0],
            "comparison_id": comparison_id,
            "group": group["key"],
            "key": group["key"],
            "token_id": token["id"],
            "user_id": str(operator.user_id),
            "alert_id": str(UUID(int=7)),
            "record_id": str(task["id"]),
            "stage": "posting",
            "decision": "approve",
        }
    )


@dataclass
class Walker:
    """Asks for routes with what they need."""

    owned: Owned
    examples: dict[tuple[str, str], Any]
    client: httpx.AsyncClient
    headers: dict[str, str]

    async def __call__(self, route: Route) -> httpx.Response:
        more: dict[str, Any] = {}
        if route.is_api:
            more = {"json": self.examples.get((route.path, route.method))}
        elif route.method not in SAFE:
            more = {"data": route.form}
        headers = self.headers | {"If-Match": "*"}
        return await self.client.request(route.method, self.owned.address(route), headers=headers, **more)


def examples_of(app: FastAPI) -> dict[tuple[str, str], Any]:
    """A body for every route of the API that takes one, as its description says."""
    described = app.openapi()
    schemas, found = described["components"]["schemas"], {}
    for path, item in described["paths"].items():
        for method, operation in item.items():
            if content := operation.get("requestBody", {}).get("content", {}).get("application/json"):
                kinds = content["schema"].get("anyOf", [content["schema"]])
                schema = schemas[kinds[0]["$ref"].rsplit("/", 1)[-1]]
                found[path, method.upper()] = schema.get("examples", [{}])[0]
    return found


async def walker(site: Site, owned: Owned, browser: Browser, *, signed_in: bool = True) -> Walker:
    token = {csrf.HEADER: await browser.token(), "Origin": HOST} if signed_in else {}
    return Walker(owned, examples_of(site.app), browser.client, token)


async def rows(site: Site) -> dict[str, list[str]]:
    """Everything that the first owner has, as it stands."""
    async with site.database.session() as session:
        return {
            table: sorted(
                (await session.execute(text(f"SELECT to_jsonb({table}) - 'last_used_at' FROM {table}"))).scalars(),
                key=str,
            )
            for table in TABLES
        }


def named(site: Site) -> list[Route]:
    found = list(routes(site.app))
    assert len(found) > 100
    assert {str(each) for each in found} >= PUBLIC | OWN, "PUBLIC and OWN name what there is"
    return found


async def test_nobody_gets_anything_but_the_way_in(site: Site, owned: Owned) -> None:
    before = await rows(site)
    async with site.browser() as browser:
        ask = await walker(site, owned, browser, signed_in=False)
        for route in named(site):
            if str(route) in PUBLIC:
                assert route.role is None, route
                continue
            response = await ask(route)
            if route.is_api:
                assert response.status_code == 401, route
                assert response.headers["WWW-Authenticate"] == "Bearer"
            else:
                assert (response.status_code, response.headers["Location"][:6]) == (303, "/login"), route
            assert owned.shown_in(response) == [], route
    assert await rows(site) == before


async def test_a_viewer_changes_nothing_and_sees_nobody_elses(site: Site, owned: Owned) -> None:
    async with site.as_("viewer", "viewer") as browser:
        before = await rows(site)
        ask = await walker(site, owned, browser)
        for route in named(site):
            if str(route) in PUBLIC | OWN:
                continue
            response = await ask(route)
            assert route.role is not None, f"{route} asks for no role"
            if route.role == "viewer":
                assert route.method in SAFE, f"{route} lets a viewer change something"
                assert response.status_code == (404 if route.names else 200), (route, response.text)
            else:
                assert response.status_code == 403, route
            assert owned.shown_in(response) == [], route
    assert await rows(site) == before


async def test_another_owner_finds_nothing_of_the_first(site: Site, owned: Owned) -> None:
    async with site.as_("second", "operator") as browser:
        before = await rows(site)
        ask = await walker(site, owned, browser)
        for route in named(site):
            if str(route) in PUBLIC | OWN:
                continue
            response = await ask(route)
            if route.role == "admin":
                assert response.status_code == 403, route
            elif route.names:
                assert response.status_code == (303 if str(route) in SHARED else 404), (
                    route,
                    response.status_code,
                    response.text,
                )
            else:
                assert response.status_code < 500, (route, response.text)
            assert owned.shown_in(response) == [], route
    after = await rows(site)
    assert {table: [row for row in found if row in before[table]] for table, found in after.items()} == before


def test_a_websocket_asks_for_a_role_and_from_where_it_is_opened(site: Site) -> None:
    found = [each for each in iter_route_contexts(site.app.routes) if isinstance(each.route, APIWebSocketRoute)]
    assert [each.path for each in found] == ["/api/v1/monitoring/ws"]
    for each in found:
        asked = set(called(each.dependant))  # type: ignore[attr-defined]
        assert asked & ROLE_OF.keys(), each.path
        assert csrf.checked in asked, each.path


async def test_what_is_ones_own_is_not_anothers(site: Site, owned: Owned) -> None:
    async with site.as_("second", "admin") as browser:
        ask = await walker(site, owned, browser)
        for path in ("/account/tokens/{token_id}/revoke", "/api/v1/tokens/{token_id}"):
            method = "DELETE" if path.startswith("/api") else "POST"
            response = await ask(Route(method, path, "viewer"))
            assert response.status_code == 404, (path, response.text)


async def test_a_token_does_what_its_scope_says(site: Site, owned: Owned) -> None:
    """Whoever has it: here an administrator's that only reads."""
    person = await site.person("chief", "admin")
    async with site.browser() as browser:
        ask = await walker(site, owned, browser, signed_in=False)
        ask.headers = await site.bearer(person, "read")
        for route in named(site):
            if route.is_api and route.role in ("operator", "admin"):
                assert (await ask(route)).status_code == 403, route
