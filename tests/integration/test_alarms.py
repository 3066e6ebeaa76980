"""What alarms find wrong in the database, and from when on."""

from typing import Any

from sqlalchemy import func, text, update

from lib.alerts.causes import Cause
from lib.monitoring import alarms
from lib.monitoring.health import Check, Health
from lib.monitoring.models import MonitoringProcess, MyMomentLogin
from lib.monitoring.store import stages
from tests.world import World

WELL = Health((Check("database", ok=True, detail="answers"),))


async def causes(world: World, health: Health = WELL) -> dict[str, Cause]:
    return {cause.kind: cause for cause in await alarms.find(world.settings, world.database, health)}


async def sql(world: World, statement: str) -> None:
    async with world.database.session() as session:
        await session.execute(text(statement))


async def test_nothing_is_wrong_at_first(world: World) -> None:
    await world.process()
    assert await causes(world) == {}


async def test_a_stage_is_silent_after_15_minutes_with_something_to_do(world: World) -> None:
    process_id = await world.process(start=False)
    async with world.database.session() as session:
        for stage in ("preparation", "generation", "posting"):
            await stages.note_tick(session, stage, None)
        await stages.note_tick(session, "discovery", None)
        await stages.note_tick(session, "discovery", "the site was away")
    await sql(world, "UPDATE stage_ticks SET last_success_at = now() - interval '20 min' WHERE stage = 'discovery'")
    assert await causes(world) == {}, "nothing runs"
    await sql(world, "UPDATE monitoring_processes SET status = 'running', started_at = now() - interval '14 min'")
    assert await causes(world) == {}, "it has not had its 15 minutes"
    await sql(world, "UPDATE monitoring_processes SET started_at = now() - interval '16 min'")
    found = await causes(world)
    assert (found["stage.silent"].subject, found["stage.silent"].details["last_error"]) == (
        "discover_articles",
        "the site was away",
    )
    async with world.database.session() as session:
        await stages.note_tick(session, "discovery", None)
    assert await causes(world) == {}
    assert (await world.get_process(process_id)).status == "running"


async def test_a_process_that_ran_out_of_time_or_failed_stopped_by_itself(world: World) -> None:
    for name, status, reason in (
        ("late", "stopped", "timeout"),
        ("broken", "failed", "login"),
        ("mine", "stopped", "user"),
        ("done", "completed", "user"),
    ):
        process_id = await world.process(name)
        async with world.database.session() as session:
            ended = {"status": status, "stop_reason": reason, "stopped_at": func.now()}
            await session.execute(update(MonitoringProcess).where(MonitoringProcess.id == process_id).values(**ended))
    found = await alarms.find(world.settings, world.database, WELL)
    assert [cause.title for cause in found] == [
        "The process “late” stopped by itself: its time was over",
        "The process “broken” failed: login",
    ]
    await sql(world, "UPDATE monitoring_processes SET stopped_at = now() - interval '2 days'")
    assert await causes(world) == {}


async def test_a_login_stopped_working_when_the_site_refuses_it_or_nothing_helps(world: World) -> None:
    login_id = await world.login("bot")

    async def with_(**values: Any) -> dict[str, Cause]:
        async with world.database.session() as session:
            await session.execute(update(MyMomentLogin).where(MyMomentLogin.id == login_id).values(**values))
        return await causes(world)

    assert await with_(failed_logins=2, error_message="timeout") == {}
    assert "login.refused" in await with_(failed_logins=3)
    found = await with_(failed_logins=1, refused_since=func.now(), error_message="it does not accept the password")
    assert found["login.refused"].subject == str(login_id)
    assert found["login.refused"].details["error"] == "it does not accept the password"
    assert await with_(is_active=False) == {}


async def test_a_budget_warns_at_four_fifths_and_is_used_up_at_the_whole_once_a_day_and_height(world: World) -> None:
    process_id = await world.process()
    await sql(world, "UPDATE monitoring_processes SET budget_tokens = 1000")
    await sql(
        world,
        "INSERT INTO llm_usage (day, process_id, provider_id, input_tokens, currency) "
        f"SELECT (now() AT TIME ZONE '{world.settings.budget_timezone}')::date, id, llm_provider_id, 799, 'USD' "
        "FROM monitoring_processes",
    )
    assert await causes(world) == {}
    await sql(world, "UPDATE llm_usage SET input_tokens = 800")
    (warned,) = (await causes(world)).values()
    assert (warned.kind, warned.subject) == ("budget.warning", f"process {process_id} tokens")
    assert warned.title == "The budget of the process “watch” is used to 80%: 800 of 1,000 tokens"
    await sql(world, "UPDATE llm_usage SET output_tokens = 200")
    (used_up,) = (await causes(world)).values()
    assert (used_up.kind, used_up.subject) == ("budget.exhausted", warned.subject)
    assert used_up.title == "The budget of the process “watch” is used up: 1,000 of 1,000 tokens"
    assert used_up.key == (await causes(world))["budget.exhausted"].key
    await sql(world, "UPDATE monitoring_processes SET budget_tokens = 990")
    assert used_up.episode != (await causes(world))["budget.exhausted"].episode


async def test_what_health_finds_beside_a_silent_stage_is_told_by_its_name(world: World) -> None:
    late = Check("stage discovery", ok=False, detail="last success 1200 s ago")
    health = Health((*WELL.checks, late, Check("work pool", ok=False, detail="no worker online")))
    async with world.database.session() as session:
        await stages.note_tick(session, "discovery", None)
    await sql(world, "UPDATE stage_ticks SET last_success_at = now() - interval '20 min' WHERE stage = 'discovery'")
    found = await alarms.find(world.settings, world.database, health)
    assert [cause.subject for cause in found] == ["work pool"]
