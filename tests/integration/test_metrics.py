"""`/metrics`: what it counts, who may read it, and that no name and no address makes it grow without bound."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from console import metrics
from console.app import create_app
from console.measures import MOST_NAMES
from lib.monitoring.models import MonitoringProcess, User
from lib.settings import Settings
from tests.integration.test_console_security import House
from tests.world import World

LOCAL = "127.0.0.1"
ELSEWHERE = "192.0.2.7"
Samples = dict[str, list[tuple[Mapping[str, str], float]]]


async def scrape(house: House, address: str = LOCAL, **headers: str) -> httpx.Response:
    async with house.browser(address=address) as browser:
        return await browser.get("/metrics", headers={name.replace("_", "-"): value for name, value in headers.items()})


async def samples(house: House, address: str = LOCAL, **headers: str) -> Samples:
    response = await scrape(house, address, **headers)
    assert response.status_code == 200, response.text
    found: Samples = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    fitting = [number for have, number in found[name] if labels.items() <= have.items()]
    assert len(fitting) == 1, (name, labels, found[name])
    return fitting[0]


@pytest.fixture(autouse=True)
def _always_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "KEPT_SECONDS", 0.0)


@pytest.fixture
async def house(settings: Settings) -> AsyncIterator[House]:
    async with opened(settings) as running:
        yield running


@asynccontextmanager
async def opened(settings: Settings, **changed: Any) -> AsyncIterator[House]:
    app = create_app(settings.model_copy(update=changed))
    async with app.router.lifespan_context(app):
        yield House(app, app.state.console.database)


async def run(world: World, statement: str, **values: Any) -> None:
    async with world.database.session() as session:
        await session.execute(text(statement), values)


# What it says


async def test_it_counts_the_work_as_the_database_has_it(house: House, world: World) -> None:
    provider = await world.provider("paid")
    process = await world.process("Klasse 5a", provider=provider)
    await world.process("Klasse 6b", start=False)
    await world.comments(process, 3, "prepared", article_content="Ich habe einen Hund.")
    await run(world, "UPDATE ai_comments SET updated_at = now() - interval '90 seconds'")
    await run(world, "UPDATE monitoring_processes SET comments_posted = 7, errors_encountered_in_posting = 2")
    await run(
        world,
        "INSERT INTO stage_ticks (stage, last_success_at) VALUES ('posting', '2026-02-04T18:04:00Z') "
        "ON CONFLICT (stage) DO UPDATE SET last_success_at = EXCLUDED.last_success_at",
    )
    await run(
        world,
        "INSERT INTO llm_usage (day, process_id, provider_id, calls, input_tokens, output_tokens, cost, currency) "
        "SELECT (now() AT TIME ZONE 'Europe/Zurich')::date, p, :provider, 2, 100, 10, 0.25, 'CHF' "
        "FROM unnest(array[gen_random_uuid(), gen_random_uuid()]) p",
        provider=provider,
    )
    found = await samples(house)
    assert value(found, "pressroom_database_up") == 1
    assert value(found, "pressroom_processes", status="running") == 1
    assert value(found, "pressroom_processes", status="created") == 1
    assert value(found, "pressroom_comments", process="Klasse 5a", process_id=str(process), status="prepared") == 3
    assert value(found, "pressroom_comments_posted_total", process="Klasse 6b") == 7
    assert value(found, "pressroom_stage_errors_total", process="Klasse 5a", stage="posting") == 2
    assert value(found, "pressroom_stage_waiting", stage="generation") == 3
    assert 90 <= value(found, "pressroom_stage_oldest_waiting_seconds", stage="generation") < 120
    assert value(found, "pressroom_stage_oldest_waiting_seconds", stage="posting") == 0
    assert value(found, "pressroom_stage_last_success_timestamp_seconds", stage="posting") == 1770228240
    assert value(found, "pressroom_llm_calls_today", provider="paid") == 4
    assert value(found, "pressroom_llm_tokens_today", provider="paid", kind="input") == 200
    assert value(found, "pressroom_llm_money_today", provider="paid", currency="CHF") == 0.5
    assert value(found, "pressroom_database_pool_size") == 5
    assert value(found, "pressroom_database_session_seconds", quantile="0.99") > 0


async def test_requests_are_counted_by_the_template_of_their_route(house: House) -> None:
    async with house.browser() as browser:
        for number in range(5):
            await browser.get(f"/logins/00000000-0000-7000-8000-00000000000{number}")
            await browser.get(f"/nowhere/{number}")
        await browser.get("/static/style.css")
        await browser.client.request("BREW", "/logins")
    found = await samples(house)
    count = "pressroom_http_requests_total"
    assert value(found, count, route="/logins/{login_id}", method="GET", status="303") == 5
    assert value(found, count, route="none", method="GET", status="404") == 5
    assert value(found, count, route="/static", status="200") == 1
    assert [number for labels, number in found[count] if labels["method"] == "other"] == [1]
    assert value(found, "pressroom_http_request_duration_seconds_count", route="/logins/{login_id}") == 5


async def test_two_applications_do_not_share_their_numbers(house: House, settings: Settings) -> None:
    await scrape(house)
    async with opened(settings) as other:
        assert "pressroom_http_requests_total" not in await samples(other)


async def test_openmetrics_is_spoken_to_who_asks_for_it(house: House) -> None:
    await scrape(house)
    answer = await scrape(house, Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert "pressroom_processes" in {family.name for family in parse_openmetrics(answer.text)}


async def test_what_was_read_is_kept_for_a_moment(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "KEPT_SECONDS", 60.0)
    await scrape(house)
    before = house.database.figures().round_trips
    for _ in range(5):
        await scrape(house)
    assert house.database.figures().round_trips == before


async def test_it_takes_few_queries_however_much_there_is(house: House, world: World) -> None:
    for number in range(5):
        await world.comments(await world.process(f"process {number}"), 2)
    before = house.database.figures().round_trips
    await scrape(house)
    assert house.database.figures().round_trips - before <= 5


async def test_while_the_database_is_away_it_says_so_and_the_rest_goes_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise ConnectionRefusedError

    await scrape(house)
    monkeypatch.setattr(metrics.store, "read", away)
    found = await samples(house)
    assert value(found, "pressroom_database_up") == 0
    assert "pressroom_processes" not in found
    assert value(found, "pressroom_http_requests_total", route="/metrics", status="200") == 1


# Bounds


async def test_beyond_so_many_processes_their_names_are_summed(house: House, world: World) -> None:
    process = await world.process("first")
    await world.comments(process, 2)
    owner = await world.user()
    async with world.database.session() as session:
        session.add_all([MonitoringProcess(user_id=owner, name=f"process {n}") for n in range(MOST_NAMES)])
    found = await samples(house)
    assert found["pressroom_comments"] == [({"process_id": "*", "process": "*", "status": "discovered"}, 2)]
    assert len(found["pressroom_comments_posted_total"]) == 1
    assert value(found, "pressroom_processes", status="created") == MOST_NAMES


async def test_two_owners_may_use_the_same_name(house: House, world: World) -> None:
    await world.process("watch")
    async with world.database.session() as session:
        other = User(name="somebody")
        session.add(other)
        await session.flush()
        session.add(MonitoringProcess(user_id=other.id, name="watch"))
    found = (await samples(house))["pressroom_comments_posted_total"]
    assert len({labels["process_id"] for labels, _ in found}) == 2


# Who may


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "X-Forwarded-Proto", "X-Forwarded-Host"]
)
async def test_this_machine_may_unless_it_passes_on_what_others_ask(house: House, header: str) -> None:
    assert (await scrape(house)).status_code == 200
    assert (await scrape(house, "::1")).status_code == 200
    answer = await scrape(house, **{header: "192.0.2.9"})
    assert answer.status_code == 401
    assert answer.headers["Content-Type"] == "application/problem+json"


async def test_others_need_a_token(house: House, world: World) -> None:
    await world.process("Klasse 5a")
    answer = await scrape(house, ELSEWHERE)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "Klasse" not in answer.text
    assert (await scrape(house, ELSEWHERE, Authorization="Bearer prs_nothing")).status_code == 401
    # A token that is wrong is not forgiven on this machine either.
    assert (await scrape(house, Authorization="Bearer prs_nothing")).status_code == 401
    ada = await house.person("ada", "admin")
    found = await samples(house, ELSEWHERE, **await house.bearer(ada, "read"))
    assert value(found, "pressroom_comments_posted_total", process="Klasse 5a") == 0


async def test_a_token_of_somebody_who_is_no_administrator_reads_sums_without_names(house: House, world: World) -> None:
    process = await world.process("Klasse 5a")
    await world.comments(process, 2)
    vera = await house.person("vera", "viewer")
    bearer = await house.bearer(vera, "read")
    answer = await scrape(house, ELSEWHERE, **bearer)
    assert "Klasse 5a" not in answer.text
    assert str(process) not in answer.text
    assert value(await samples(house, ELSEWHERE, **bearer), "pressroom_comments", process="*") == 2


async def test_in_a_browser_it_is_for_administrators(house: House) -> None:
    async with house.as_("vera", "operator") as browser:
        assert (await browser.get("/metrics")).status_code == 403
    async with house.as_("ada", "admin") as browser:
        assert (await browser.get("/metrics")).status_code == 200


async def test_a_setting_opens_it_to_everybody(settings: Settings) -> None:
    async with opened(settings, metrics_public=True) as public:
        assert (await scrape(public, ELSEWHERE)).status_code == 200
        assert (await scrape(public, ELSEWHERE, X_Forwarded_For="192.0.2.9")).status_code == 200
