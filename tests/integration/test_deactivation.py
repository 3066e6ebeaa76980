"""Whoever is deactivated leaves nothing running: their processes stop, on page, API and command line alike."""

from html import unescape

import pytest
from sqlalchemy import text

from console.desk import people
from console.desk.visit import Visit
from lib.errors import Transient
from lib.monitoring.store import processes
from lib.people import members
from lib.people.store import trail
from lib.settings import Settings
from tests.integration.pages import house
from tests.integration.test_console_security import SYSTEM, Cli, House
from tests.world import World

__all__ = ["house"]


async def test_the_processes_of_who_is_deactivated_stop_and_nothing_of_theirs_starts_again(
    house: House, world: World
) -> None:
    async with house.as_("boss", "admin") as boss, house.as_("operator", "operator"):
        runs, rests = await world.process("runs"), await world.process("rests", start=False)
        person = await members.find(house.database, "operator")
        page = (await boss.get("/people")).text
        assert "1 process runs" in page
        assert "Deactivate operator? The process of theirs that runs is stopped." in page
        german = (await boss.get("/people", headers={"Accept-Language": "de"})).text
        assert "Der laufende Prozess dieser Person wird angehalten." in german
        await boss.post(f"/people/{person.id}/deactivate", "/people")
        assert "1 process of theirs was stopped: runs." in (await boss.get("/people")).text
        assert (await world.get_process(runs)).status == "stopped"
        assert (await world.get_process(rests)).status == "created"
        async with house.database.session() as session:
            found = {each.action: each for each in await trail.entries(session, limit=2)}
        assert found["user.deactivate"].details == {"name": "operator", "processes_stopped": 1}
        assert found["process.stop"].subject_id == str(runs)
        assert found["process.stop"].actor_name == "boss"
        refused = await boss.post(f"/processes/{runs}/start", "/people")
        assert "belongs to somebody who is deactivated" in unescape(refused.text)
        bearer = await house.bearer(await members.find(house.database, "boss"), "admin")
        answer = await boss.client.post(f"/api/v1/monitoring-processes/{runs}/start", headers=bearer)
        assert answer.status_code == 409
        user = f"/api/v1/users/{person.id}"
        again = await boss.client.patch(user, json={"is_active": False}, headers=bearer)
        assert (again.status_code, again.json()["processes_stopped"]) == (200, [])
        assert (await boss.client.patch(user, json={"is_active": True}, headers=bearer)).status_code == 200
    async with world.database.session() as session:
        assert await processes.start(session, runs)
    done = await Cli().json("user", "deactivate", "operator")
    assert (done["is_active"], done["processes_stopped"]) == (False, ["runs"])


async def test_deactivating_returns_when_nothing_of_theirs_is_being_posted_any_more(
    house: House, world: World, settings: Settings
) -> None:
    process = await world.process()
    (comment,) = await world.comments(process, 1, "generated", comment_content="x")
    person = await members.find(house.database, "operator")
    async with world.database.session() as session:
        await session.execute(
            text("UPDATE ai_comments SET claim_token = :id, lease_expires_at = now() + interval '1 hour'"),
            {"id": comment},
        )
    hurried = settings.model_copy(update={"item_lease": 0.2, "stage_lease": 0.2})
    visit = Visit(hurried, world.database, person.id, sees=None)
    with pytest.raises(Transient, match="has not ended yet"):
        await people.change(visit, SYSTEM, person.id, is_active=False)
    assert (await members.find(house.database, "operator")).is_active is False
    assert (await world.get_process(process)).status == "stopped"
    async with world.database.session() as session:
        await session.execute(text("UPDATE ai_comments SET claim_token = NULL, lease_expires_at = NULL"))
    assert (await people.change(visit, SYSTEM, person.id, is_active=False)).stopped == ()
