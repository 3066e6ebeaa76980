"""A program that does not know whether its request arrived sends it again: it happens once and is answered twice."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select, update

from console.api import idempotency
from console.desk import processes
from lib.people.models import AuditEntry, IdempotencyKey
from tests.integration.program import Program, Site, operator, site, things
from tests.world import World

__all__ = ["operator", "site", "things"]
NOUN = "/monitoring-processes"
KEY = {"Idempotency-Key": "c0ffee-1"}


async def audited(site: Site, action: str) -> int:
    async with site.database.session() as session:
        statement = select(func.count()).select_from(AuditEntry).where(AuditEntry.action == action)
        return (await session.execute(statement)).scalar_one()


async def test_a_request_that_is_sent_again_does_nothing_and_is_answered_the_same(
    site: Site, operator: Program
) -> None:
    first = await operator("POST", NOUN, json={"name": "watch", "limit": 3}, headers=KEY)
    otherwise = {"content": b'{ "limit":3,   "name":"watch" }', "headers": KEY | {"Content-Type": "application/json"}}
    again = await operator("POST", NOUN, **otherwise)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert {again.headers[name] == first.headers[name] for name in ("ETag", "Location", "Content-Type")} == {True}
    assert (first.headers.get("Idempotency-Replayed"), again.headers["Idempotency-Replayed"]) == (None, "true")
    assert await audited(site, "process.add") == 1


async def test_a_key_is_for_one_request(operator: Program) -> None:
    await operator("POST", NOUN, json={"name": "watch"}, headers=KEY)
    for path, body in ((NOUN, {"name": "other"}), (f"{NOUN}/stop", None)):
        response = await operator("POST", path, json=body, headers=KEY)
        assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, "Idempotency-Key")
    assert [each["name"] for each in (await operator.ok("GET", NOUN))["items"]] == ["watch"]


async def test_a_key_is_its_owners(site: Site, operator: Program) -> None:
    await operator("POST", NOUN, json={"name": "watch"}, headers=KEY)
    async with site.program("other") as other:
        response = await other("POST", NOUN, json={"name": "watch"}, headers=KEY)
        assert (response.status_code, "Idempotency-Replayed" in response.headers) == (201, False)


async def test_two_that_arrive_at_once_start_a_process_once(
    site: Site, operator: Program, things: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_id = await things.process(start=False)
    begun, go_on = asyncio.Event(), asyncio.Event()
    start = processes.start

    async def slowly(*given: Any, **more: Any) -> Any:
        begun.set()
        await go_on.wait()
        return await start(*given, **more)

    monkeypatch.setattr(processes, "start", slowly)
    path = f"{NOUN}/{process_id}/start"
    first = asyncio.create_task(operator("POST", path, headers=KEY))
    await begun.wait()
    second = asyncio.create_task(operator("POST", path, headers=KEY))
    await asyncio.sleep(0.3)
    assert not second.done()
    go_on.set()
    one, two = await asyncio.gather(first, second)
    assert (one.status_code, two.status_code, two.content) == (200, 200, one.content)
    assert await audited(site, "process.start") == 1


async def test_many_at_once_are_one(site: Site, operator: Program) -> None:
    answers = await asyncio.gather(*(operator("POST", NOUN, json={"name": "watch"}, headers=KEY) for _ in range(10)))
    assert {(each.status_code, each.content) for each in answers} == {(201, answers[0].content)}
    assert await audited(site, "process.add") == 1


async def test_what_was_turned_away_did_nothing_and_may_be_sent_again(operator: Program, things: World) -> None:
    process_id = await things.process(start=False, tab_filter=None, generate_only=False)
    path = f"{NOUN}/{process_id}"
    assert (await operator("POST", f"{path}/start", headers=KEY)).status_code == 422
    await operator.ok("PATCH", path, {"tab": "102"}, If_Match="*")
    assert (await operator("POST", f"{path}/start", headers=KEY)).status_code == 200


async def test_what_was_cut_off_is_not_done_twice(
    site: Site, operator: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(*_: Any, **__: Any) -> None:
        raise RuntimeError("the answer was lost")

    monkeypatch.setattr(idempotency, "WAITED_SECONDS", 0.2)
    with monkeypatch.context() as patched:
        patched.setattr("console.api.processes._answer", cut_off)
        assert (await operator("POST", NOUN, json={"name": "watch"}, headers=KEY)).status_code == 500
    again = await operator("POST", NOUN, json={"name": "watch"}, headers=KEY)
    assert (again.status_code, "Look at what it did" in again.json()["detail"]) == (409, True)
    assert await audited(site, "process.add") == 1


async def test_a_key_is_forgotten_after_a_day(site: Site, operator: Program) -> None:
    await operator("POST", NOUN, json={"name": "watch"}, headers=KEY)
    await operator("POST", NOUN, json={"name": "young"}, headers={"Idempotency-Key": "young"})
    async with site.database.session() as session:
        old = update(IdempotencyKey).where(IdempotencyKey.body.like(b'%"watch"%'))
        await session.execute(old.values(created_at=func.now() - timedelta(hours=25)))
    assert (await operator("POST", NOUN, json={"name": "other"}, headers=KEY)).status_code == 201
    async with site.database.session() as session:
        assert (await session.execute(select(func.count()).select_from(IdempotencyKey))).scalar_one() == 2


async def test_what_is_kept_of_a_request_tells_no_password(site: Site, operator: Program) -> None:
    login = {"name": "bot", "base_url": "http://127.0.0.1:9", "username": "ki-bot", "password": "demo-secret"}
    first = await operator("POST", "/logins", json=login, headers=KEY)
    assert first.status_code == 201, first.text
    assert (await operator("POST", "/logins", json=login | {"password": "another"}, headers=KEY)).status_code == 422
    async with site.database.session() as session:
        row = (await session.scalars(select(IdempotencyKey))).one()
    assert "demo-secret" not in repr((row.mark, row.body, row.headers))
    assert "ki-bot" not in repr((row.mark, row.body, row.headers))


async def test_a_key_that_is_none_is_named(operator: Program) -> None:
    for key in ("", "a b", "ä".encode("latin-1"), "x" * 256):
        response = await operator("POST", NOUN, json={"name": "watch"}, headers={"Idempotency-Key": key})
        assert (response.status_code, response.json()["errors"][0]["parameter"]) == (422, "Idempotency-Key")
    assert (await operator.ok("GET", NOUN))["items"] == []


async def test_every_write_that_starts_something_takes_a_key(site: Site) -> None:
    """So that nobody forgets it with a new one."""
    takes_none = {
        "logins.test",
        "providers.test",
        "templates.preview_unsaved",
        "people.invite",
        "people.link",
        "tokens.make",
        "alerts.resume_sending",
        "alerts.send_alert_again",
    }
    for path, item in site.app.openapi()["paths"].items():
        operation = item.get("post")
        if operation and operation["operationId"] not in takes_none:
            assert "Idempotency-Key" in [each["name"] for each in operation["parameters"]], path
