"""Alerts on a real Prefect server: what goes wrong there reaches a real receiver, signed, once a cause."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect import flow, tags
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.events.schemas.automations import Automation
from prefect.settings import PREFECT_API_URL, temporary_settings
from pydantic import SecretStr
from sqlalchemy import text

from deployments import automations, instance
from lib.database import Database
from lib.settings import Settings
from tasks.alerts import AT_ONCE
from tests.integration.test_up import finished, run_of
from tests.receiver import Receiver, new_secret, receiving
from tests.up import Up, running_up
from tests.world import World

PATIENCE = 90.0
GENERATION = "generate_comments_for_articles"


class AlertingUp(Up):
    """A `pressroom up` that tells the receiver; half a second between two attempts."""

    def __init__(self, folder: Path, receiver: Receiver) -> None:
        super().__init__(folder)
        self._receiver = receiver

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {
            "PRESSROOM_ALERT_WEBHOOK_URL": self._receiver.url,
            "PRESSROOM_ALERT_WEBHOOK_SECRET": self._receiver.secret,
            "PRESSROOM_ALERT_ALLOW_PRIVATE": "true",
            "PRESSROOM_ALERT_RETRY_BASE": "0.5",
        }


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving(new_secret()) as running:
        yield running


@pytest.fixture(scope="module")
def up(receiver: Receiver) -> Iterator[AlertingUp]:
    with running_up(lambda folder: AlertingUp(folder, receiver)) as running:
        yield running


@pytest.fixture
async def prefect(up: AlertingUp) -> AsyncIterator[PrefectClient]:
    with temporary_settings({PREFECT_API_URL: up.api}):
        async with get_client() as client:
            yield client


@pytest.fixture
def product(up: AlertingUp) -> Settings:
    found = instance.read(up.data_dir)
    assert found is not None
    return Settings(
        data_dir=up.data_dir,
        database_url=found.environment["PRESSROOM_DATABASE_URL"],
        console_port=up.console,
        stage_interval=15,
    )


async def told(client: PrefectClient, receiver: Receiver, kind: str, number: int) -> list[tuple[str, dict[str, Any]]]:
    """What it was told of this kind, when that is so many; deliveries are asked for meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while len(receiver.of_kind(kind)) < number:
            run = await run_of(client, "deliver_alerts/deliver_alerts")
            await finished(client, run.id)
            await asyncio.sleep(0.5)
    return receiver.of_kind(kind)


async def rows(settings: Settings, statement: str) -> list[Any]:
    async with Database(settings.database_url or "", pool_size=1) as database, database.session() as session:
        result = await session.execute(text(statement))
        return list(result) if result.returns_rows else []


async def counted(settings: Settings, subject: str, number: int) -> None:
    """When the alert has been reported so many times."""
    async with asyncio.timeout(PATIENCE):
        while await rows(settings, f"SELECT 1 FROM alerts WHERE subject = '{subject}' AND seen_count = {number}") == []:
            await asyncio.sleep(0.2)


async def look(client: PrefectClient) -> State[Any] | None:
    run = await run_of(client, "check_health/check_health")
    return (await finished(client, run.id)).state


async def ended(client: PrefectClient, deployment_id: UUID) -> None:
    """When no run of a paused deployment is at work any more; what it began may take its time on a busy machine."""
    at_work = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment_id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING])),
    )
    async with asyncio.timeout(PATIENCE):
        await asyncio.sleep(1)  # one that the worker is just taking up
        while await client.read_flow_runs(flow_run_filter=at_work):
            await asyncio.sleep(0.5)


@flow
async def stumble(times: int) -> None:
    raise ValueError(f'“{times}” is \\ "no" <number>\n')


async def test_a_flow_that_fails_three_times_is_told_once_and_until_it_is_taken(
    prefect: PrefectClient, product: Settings, receiver: Receiver
) -> None:
    receiver.answers = [500, 500]
    with tags("pressroom"):
        for times in range(3):
            with pytest.raises(ValueError, match="number"):
                await stumble(times)
    await counted(product, "stumble", 3)
    found = await told(prefect, receiver, "flow_run.failed", 3)
    ((alert_id, attempts, status),) = await rows(
        product, "SELECT id, attempts, status FROM alerts WHERE subject = 'stumble'"
    )
    assert (attempts, status) == (3, "delivered")
    assert [webhook_id for webhook_id, _ in found] == [str(alert_id)] * 3
    said = found[0][1]["data"]
    assert said["subject"] == "stumble"
    assert '“0” is \\ "no" <number>' in said["details"]["message"]
    assert said["details"]["url"].startswith("http")
    assert receiver.refused == []


async def test_a_failure_whose_report_was_lost_is_told_nevertheless(
    prefect: PrefectClient, product: Settings, receiver: Receiver
) -> None:
    nowhere = product.model_copy(update={"console_port": 9})
    await automations.apply(prefect, nowhere)
    with tags("pressroom"), pytest.raises(ValueError, match="number"):
        await stumble.with_options(name="unheard")(1)
    await asyncio.sleep(2)
    await automations.apply(prefect, product)
    before = len(receiver.of_kind("flow_run.failed"))
    await asyncio.sleep(AT_ONCE.total_seconds())
    await look(prefect)
    found = await told(prefect, receiver, "flow_run.failed", before + 1)
    assert found[-1][1]["data"]["subject"] == "unheard"


async def test_a_flow_of_somebody_else_is_none_of_our_business(prefect: PrefectClient, receiver: Receiver) -> None:
    with pytest.raises(ValueError, match="number"):
        await stumble.with_options(name="foreign")(1)
    await asyncio.sleep(2)
    await finished(prefect, (await run_of(prefect, "deliver_alerts/deliver_alerts")).id)
    assert "foreign" not in str(receiver.taken)


async def test_a_run_that_crashed_is_told(prefect: PrefectClient, receiver: Receiver) -> None:
    run = await run_of(prefect, "clean_up_sessions/clean_up_sessions")
    await finished(prefect, run.id)
    crashed: State[Any] = State(type=StateType.CRASHED, name="Crashed", message="The worker is gone")
    await prefect.set_flow_run_state(run.id, crashed, force=True)
    ((_, said),) = await told(prefect, receiver, "flow_run.crashed", 1)
    assert said["data"]["subject"] == "clean_up_sessions"
    assert "The worker is gone" in said["data"]["title"]


async def test_a_process_that_ran_out_of_time_and_a_login_that_is_refused_are_told_once_each(
    prefect: PrefectClient, product: Settings, receiver: Receiver
) -> None:
    await rows(product, "UPDATE monitoring_processes SET expires_at = now()")
    await rows(product, "UPDATE mymoment_logins SET refused_since = now(), error_message = 'wrong password'")
    await finished(prefect, (await run_of(prefect, "enforce_time_limits/enforce_time_limits")).id)
    for _ in range(3):
        await look(prefect)
    ((_, ended),) = await told(prefect, receiver, "process.stopped", 1)
    assert ended["data"]["title"] == "The process “demo” stopped by itself: its time was over"
    ((_, refused),) = await told(prefect, receiver, "login.refused", 1)
    assert refused["data"]["details"]["error"] == "wrong password"
    await rows(product, "UPDATE mymoment_logins SET refused_since = NULL")
    await look(prefect)
    assert await rows(product, "SELECT 1 FROM alerts WHERE kind = 'login.refused' AND resolved_at IS NULL") == []
    await rows(product, "UPDATE mymoment_logins SET refused_since = now()")
    await look(prefect)
    assert len(await told(prefect, receiver, "login.refused", 2)) == 2
    await rows(product, "UPDATE mymoment_logins SET refused_since = NULL")


async def generate(client: PrefectClient, settings: Settings) -> None:
    """A run of the stage now, however short the last one was ago."""
    await rows(settings, "UPDATE monitoring_process_stages SET next_due_at = now() WHERE stage = 'generation'")
    await finished(client, (await run_of(client, f"{GENERATION}/{GENERATION}")).id)


async def used_today(settings: Settings) -> int:
    ((tokens,),) = await rows(settings, "SELECT coalesce(sum(input_tokens + output_tokens), 0) FROM llm_usage")
    return int(tokens)


async def waiting(settings: Settings) -> set[tuple[str, int, str | None]]:
    """Of the items that were not written yet: their status, failed attempts and error."""
    where = "status IN ('prepared', 'failed') AND article_title LIKE 'Article %'"
    found = await rows(settings, f"SELECT status, retry_count, error_message FROM ai_comments WHERE {where}")
    return {(status, retries, error) for status, retries, error in found}


async def prepared(settings: Settings, process_id: UUID, first: int, number: int) -> None:
    async with Database(settings.database_url or "", pool_size=1) as database:
        made = await World(settings, database).comments(
            process_id, number, "prepared", first=first, article_content="Am Sonntag waren wir am See. " * 5
        )
    assert len(made) == number


@pytest.mark.timeout(300)  # some fifteen runs, one after another
async def test_a_budget_of_a_process_and_one_of_a_provider_are_told_at_80_and_at_100_percent_once_each(
    prefect: PrefectClient, product: Settings, receiver: Receiver
) -> None:
    ((process_id, provider_id),) = await rows(
        product,
        "UPDATE monitoring_processes SET status = 'running', expires_at = now() + interval '1 hour', "
        "generate_only = true RETURNING id, llm_provider_id",
    )
    deployment = await prefect.read_deployment_by_name(f"{GENERATION}/{GENERATION}")
    await prefect.pause_deployment(deployment.id)
    try:
        await ended(prefect, deployment.id)
        await prepared(product, process_id, 900_001, 4)
        await generate(prefect, product)
        used = await used_today(product)
        assert used > 0
        # The provider's ends first, and then the process's, so that each is seen to stop what waits by itself.
        await rows(product, f"UPDATE llm_provider_configurations SET budget_tokens = {int(used / 0.92)}")
        await rows(product, f"UPDATE monitoring_processes SET budget_tokens = {int(used / 0.82)}")
        await look(prefect)
        await told(prefect, receiver, "budget.warning", 2)
        assert receiver.of_kind("budget.exhausted") == []
        await prepared(product, process_id, 900_101, 40)
        for limited, lifted in (
            (f"provider {provider_id} tokens", "llm_provider_configurations"),
            (f"process {process_id} tokens", "monitoring_processes"),
        ):
            await generate(prefect, product)
            assert await waiting(product) == {("prepared", 0, None)}
            for _ in range(2):
                await look(prefect)
            number = 1 if lifted == "llm_provider_configurations" else 2
            found = await told(prefect, receiver, "budget.exhausted", number)
            assert [said["data"]["subject"] for _, said in found][-1:] == [limited]
            assert "is used up: " in found[-1][1]["data"]["title"]
            assert found[-1][1]["data"]["details"]["resumes_at"]
            await rows(product, f"UPDATE {lifted} SET budget_tokens = NULL")
    finally:
        await prefect.resume_deployment(deployment.id)
    await look(prefect)
    await finished(prefect, (await run_of(prefect, "deliver_alerts/deliver_alerts")).id)
    warned = {said["data"]["subject"] for _, said in receiver.of_kind("budget.warning")}
    assert warned == {f"provider {provider_id} tokens", f"process {process_id} tokens"}
    assert (len(receiver.of_kind("budget.warning")), len(receiver.of_kind("budget.exhausted"))) == (2, 2)
    assert receiver.refused == []
    still_open = "SELECT 1 FROM alerts WHERE kind LIKE 'budget.%' AND resolved_at IS NULL"
    assert await rows(product, still_open) == []


async def test_a_silent_stage_is_told_and_the_run_that_found_it_is_no_failure_of_its_own(
    prefect: PrefectClient, product: Settings, receiver: Receiver
) -> None:
    await rows(
        product,
        "UPDATE monitoring_processes SET status = 'running', expires_at = now() + interval '1 hour', "
        "started_at = now() - interval '1 hour'",
    )
    deployment = await prefect.read_deployment_by_name("discover_articles/discover_articles")
    await prefect.pause_deployment(deployment.id)
    try:
        await ended(prefect, deployment.id)
        await rows(
            product, "UPDATE stage_ticks SET last_success_at = now() - interval '1 hour' WHERE stage = 'discovery'"
        )
        state = await look(prefect)
    finally:
        await prefect.resume_deployment(deployment.id)
    assert state is not None
    assert (state.type, state.name) == (StateType.FAILED, "NotWell")
    ((_, said),) = await told(prefect, receiver, "stage.silent", 1)
    assert said["data"]["subject"] == "discover_articles"
    assert "check_health" not in str([said for _, said in receiver.taken])


async def test_prefects_own_watch_reports_a_stage_that_no_longer_completes(
    prefect: PrefectClient, product: Settings, receiver: Receiver, tmp_path: Path
) -> None:
    await rows(product, "UPDATE alerts SET resolved_at = now() WHERE resolved_at IS NULL")
    before = len(receiver.of_kind("stage.silent"))
    for file in automations.FOLDER.glob("*.yaml"):
        said = file.read_text().replace("within: 900", "within: 10").replace('"hold": 180', '"hold": 0')
        (tmp_path / file.name).write_text(said)
    impatient = product.model_copy(update={"stage_interval": 1})
    applied = dict(await automations.apply(prefect, impatient, tmp_path))
    assert applied["Pressroom: a stage no longer completes"] == "updated"
    await finished(prefect, (await run_of(prefect, "post_comments_for_articles/post_comments_for_articles")).id)
    deployment = await prefect.read_deployment_by_name("post_comments_for_articles/post_comments_for_articles")
    await prefect.pause_deployment(deployment.id)
    try:
        number = before
        async with asyncio.timeout(PATIENCE):
            while not by_prefect(receiver.of_kind("stage.silent")[before:]):
                number += 1  # our own look at the stages may have been first
                await told(prefect, receiver, "stage.silent", number)
    finally:
        await prefect.resume_deployment(deployment.id)
        await automations.apply(prefect, product)


def by_prefect(found: list[tuple[str, dict[str, Any]]]) -> bool:
    return any(said["data"]["title"].startswith("No run of ") for _, said in found)


async def test_what_is_applied_twice_changes_nothing_and_what_people_disabled_stays(
    prefect: PrefectClient, product: Settings, tmp_path: Path
) -> None:
    async def one(name: str) -> Automation:
        (found,) = await prefect.read_automations_by_name(name)
        return found

    assert {outcome for _, outcome in await automations.apply(prefect, product)} == {"unchanged"}
    warning = "Pressroom: a budget is nearly used up"
    await prefect.pause_automation((await one(warning)).id)
    assert {outcome for _, outcome in await automations.apply(prefect, product)} == {"unchanged"}
    for file in automations.FOLDER.glob("*.yaml"):
        if file.name != "health-ill.yaml":
            (tmp_path / file.name).write_text(file.read_text().replace("80 %", "Eighty percent"))
    applied = dict(await automations.apply(prefect, product, tmp_path))
    assert applied.pop("Pressroom: something else is not well") == "deleted"
    assert applied.pop(warning) == "updated"
    assert set(applied.values()) == {"unchanged"}
    assert not (await one(warning)).enabled
    applied = dict(await automations.apply(prefect, product))
    assert applied["Pressroom: something else is not well"] == "created"
    assert not (await one(warning)).enabled
    await prefect.resume_automation((await one(warning)).id)


async def test_the_relays_secret_is_shown_nowhere(prefect: PrefectClient, product: Settings) -> None:
    secret = (product.data_dir / "alert-relay.secret").read_text().strip()
    for path in ("/block_documents/filter", "/automations/filter"):
        answer = await prefect.request("POST", path, json={})  # type: ignore[arg-type]
        assert "pressroom-alerts" in answer.text
        assert secret not in answer.text
    moved = product.model_copy(update={"alert_relay_secret": SecretStr("another secret of the relay")})
    assert dict(await automations.apply(prefect, moved))["webhook block"] == "updated"
    assert dict(await automations.apply(prefect, product))["webhook block"] == "updated"
