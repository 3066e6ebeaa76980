"""Alerts as Prefect's server, an administrator and everybody else meet them at the console."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from console.app import create_app
from lib.alerts import delivery, relay, store
from lib.database import Database
from lib.people import tokens
from lib.people.models import Account
from lib.people.store import tokens as token_store
from lib.settings import Settings
from tests.receiver import new_secret, receiving
from tests.world import World

REPORT = {"cause": {"kind": "login.refused", "subject": "one", "title": "The login “bot” stopped working"}}


@pytest.fixture
def set_up(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "alert_webhook_url": SecretStr("http://127.0.0.1:9/hook?key=hidden"),
            "alert_webhook_secret": SecretStr(new_secret()),
            "alert_allow_private": True,
        }
    )


@asynccontextmanager
async def console(settings: Settings, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(settings)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8400", headers=headers) as client,
    ):
        yield client


def as_prefect(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {relay.relay_secret(settings)}"}


async def as_(world: World, role: str) -> dict[str, str]:
    secret = tokens.new(tokens.PREFIX)
    user_id = await world.user()
    async with world.database.session() as session:
        session.add(Account(user_id=user_id, role=role))
        await session.flush()
        await token_store.add(session, user_id, "test", secret, frozenset({"read", "write", "admin"}), 1)
    return {"Authorization": f"Bearer {secret.text}"}


async def test_prefect_reports_with_its_secret_and_no_session(set_up: Settings) -> None:
    async with console(set_up, **as_prefect(set_up)) as client:
        first = await client.post("/api/v1/alerts/relay", json=REPORT)
        again = await client.post("/api/v1/alerts/relay", json=REPORT)
    assert (first.status_code, first.json()["is_new"]) == (200, True)
    assert again.json() == {"id": first.json()["id"], "is_new": False}


@pytest.mark.parametrize("header", [None, "Bearer ", "Bearer guess", "Basic Zm9vOmJhcg=="])
async def test_nobody_else_reports(set_up: Settings, database: Database, header: str | None) -> None:
    async with console(set_up) as client:
        headers = {} if header is None else {"Authorization": header}
        answer = await client.post("/api/v1/alerts/relay", json=REPORT, headers=headers)
    assert answer.status_code == 401
    async with database.session() as session:
        assert await store.listed(session, limit=1) == []


async def test_an_administrators_token_does_not_report_either(world: World, set_up: Settings) -> None:
    async with console(set_up, **await as_(world, "admin")) as client:
        assert (await client.post("/api/v1/alerts/relay", json=REPORT)).status_code == 401


async def test_the_relays_secret_opens_nothing_else(set_up: Settings) -> None:
    async with console(set_up, **as_prefect(set_up)) as client:
        for path in ("/api/v1/alerts", "/api/v1/alerts/webhook"):
            assert (await client.get(path)).status_code == 401


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"{}", b'{"cause": {"kind": "x"}}', b'{"cause": "\xff"}', b'{"cause": "\\ud800"}', b"9" * 70_000],
)
async def test_what_is_no_report_is_refused_with_a_reason(set_up: Settings, body: bytes) -> None:
    async with console(set_up, **as_prefect(set_up)) as client:
        answer = await client.post("/api/v1/alerts/relay", content=body, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


async def test_an_administrator_sees_each_attempt_and_sends_again(world: World, set_up: Settings) -> None:
    failing = set_up.model_copy(update={"alert_max_attempts": 1})
    async with console(set_up, **as_prefect(set_up)) as client:
        alert_id = (await client.post("/api/v1/alerts/relay", json=REPORT)).json()["id"]
    await delivery.deliver(failing, world.database)
    async with console(set_up, **await as_(world, "admin")) as client:
        (listed,) = (await client.get("/api/v1/alerts")).json()["items"]
        assert (listed["id"], listed["status"], listed["attempts"]) == (alert_id, "dead", 1)
        (attempt,) = (await client.get(f"/api/v1/alerts/{alert_id}")).json()["attempted"]
        assert "ConnectError" in attempt["error_message"]
        again = await client.post(f"/api/v1/alerts/{alert_id}/send")
        assert (again.status_code, again.json()["status"]) == (202, "pending")
        assert (await client.post(f"/api/v1/alerts/{alert_id}/send")).status_code == 409
        audited = (await client.get("/api/v1/audit")).json()["items"]
        assert [(each["action"], each["subject_id"]) for each in audited] == [("alert.send", alert_id)]
        assert (await client.get(f"/api/v1/alerts/{UUID(int=0)}")).status_code == 404


async def test_pages_of_alerts_follow_each_other(world: World, set_up: Settings) -> None:
    async with console(set_up, **as_prefect(set_up)) as client:
        for number in range(5):
            cause = REPORT["cause"] | {"subject": str(number)}
            await client.post("/api/v1/alerts/relay", json={"cause": cause})
    async with world.database.session() as session:
        await store.follow(session, [])
    async with console(set_up, **await as_(world, "admin")) as client:
        seen, after = [], None
        for _ in range(3):
            page = (
                await client.get("/api/v1/alerts", params={"limit": 2} | ({"after": after} if after else {}))
            ).json()
            seen += [each["subject"] for each in page["items"]]
            after = page["next"]
        assert (seen, after) == (["4", "3", "2", "1", "0"], None)
        assert (await client.get("/api/v1/alerts", params={"only_open": True})).json()["items"] == []


async def test_a_webhook_that_is_gone_is_shown_by_its_host_and_resumed(world: World, set_up: Settings) -> None:
    with receiving(new_secret()) as receiver:
        receiver.answers = [410]
        gone = set_up.model_copy(
            update={
                "alert_webhook_url": SecretStr(receiver.url),
                "alert_webhook_secret": SecretStr(receiver.secret),
            }
        )
        async with console(gone, **as_prefect(gone)) as client:
            await client.post("/api/v1/alerts/relay", json=REPORT)
        await delivery.deliver(gone, world.database)
    async with console(gone, **await as_(world, "admin")) as client:
        webhook = (await client.get("/api/v1/alerts/webhook")).json()
        assert webhook["host"] == "127.0.0.1"
        assert "410" in webhook["stopped"]
        assert (await client.post("/api/v1/alerts/webhook/resume")).json()["stopped"] is None
        assert (await client.get("/api/v1/alerts/webhook")).json() == {"host": "127.0.0.1", "stopped": None}


@pytest.mark.parametrize("role", ["viewer", "operator"])
async def test_alerts_are_for_administrators(world: World, set_up: Settings, role: str) -> None:
    async with console(set_up, **await as_(world, role)) as client:
        for method, path in (
            ("GET", ""),
            ("GET", f"/{UUID(int=1)}"),
            ("POST", f"/{UUID(int=1)}/send"),
            ("GET", "/webhook"),
            ("POST", "/webhook/resume"),
        ):
            assert (await client.request(method, f"/api/v1/alerts{path}")).status_code == 403, path
