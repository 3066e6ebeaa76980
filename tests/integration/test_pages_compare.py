"""Comparisons in a browser, and what all the pages of reviewing, failures and comparisons have in common."""

import re
from dataclasses import replace
from html import unescape
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import event

from console.desk import runs
from flows.compare_templates import compare_templates
from lib.errors import Invalid, PressroomError, Transient
from playground.serve import Running
from tests.integration.pages import ann, audited, failed, house, said, waiting
from tests.integration.test_console_security import Browser, House
from tests.world import World

__all__ = ["ann", "house"]


class Asked:
    """Prefect as far as a comparison asks it."""

    def __init__(self) -> None:
        self.runs: list[tuple[str, dict[str, Any]]] = []
        self.error: Exception | None = None

    async def start(self, name: str, parameters: dict[str, Any]) -> str:
        if self.error:
            raise self.error
        self.runs.append((name, parameters))
        return "a run"


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr("console.desk.runs.start_deployment", asked.start)
    return asked


async def form(world: World, number: int = 3, **more: str) -> dict[str, str]:
    """What a filled-in form sends."""
    first, second = await world.template("first"), await world.template("second", "{article_title}: {article_content}")
    provider = await world.provider("judge")
    await waiting(world, number)
    return {"template_a": str(first), "template_b": str(second), "provider": str(provider), "articles": "2"} | more


async def test_without_what_it_takes_the_page_says_what_to_add(ann: Browser) -> None:
    page = (await ann.get("/compare")).text
    assert "A comparison takes two templates" in page
    assert 'href="/templates"' in page
    assert 'href="/providers"' in page
    assert "There is none yet." in page


@pytest.mark.usefixtures("prefect_server")
async def test_two_templates_are_compared_side_by_side(
    ann: Browser, world: World, prefect: Asked, monkeypatch: pytest.MonkeyPatch, playground: Running
) -> None:
    monkeypatch.setenv("PRESSROOM_ITEM_TASK_RUNS", "false")
    answer = await ann.post("/compare", **await form(world, name="Which one?"))
    address = answer.headers["Location"]
    assert "It is started" in await said(ann, answer)
    comparison_id = address.rpartition("/")[2]
    assert prefect.runs == [("compare_templates", {"comparison_id": comparison_id})]
    page = (await ann.get(address)).text
    assert "0 of 4 answers are there." in page
    polled = re.search(r'hx-get="([^"]+/live[^"]*)"', page)
    assert polled is not None
    await compare_templates(UUID(comparison_id))
    live = (await ann.get(unescape(polled[1]))).text
    assert live.count('hx-swap-oob="true"') == 3, "the progress, and both articles that were open"
    assert "hx-get" not in live, "nothing is asked for any more"
    page = (await ann.get(address)).text
    assert "Done." in page
    assert page.count('<span class="badge done">could be posted</span>') == 4
    assert page.count("tokens out") == 4
    assert "4 of 4" in (await ann.get("/compare")).text
    async with httpx.AsyncClient() as outside:
        assert (await outside.get(f"{playground.url}/control/comments")).json() == []
    assert "comparison.start" in await audited(world)


async def test_articles_are_picked_by_hand(ann: Browser, world: World, prefect: Asked) -> None:
    sent = await form(world, 4)
    page = (await ann.get("/compare/articles?process=watch")).text
    picked = re.findall(r'name="comment" value="([^"]+)"', page)
    assert len(picked) == 4
    looked = await ann.post("/compare", **sent, look="1", process="watch", name="kept")
    assert looked.status_code == 200
    assert 'value="kept"' in looked.text
    answer = await ann.post("/compare", **sent, comment=picked[1:2])  # type: ignore[arg-type]
    assert prefect.runs
    assert (await ann.get(answer.headers["Location"])).text.count('<article class="card" id="pair-') == 1


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"articles": "21"}, "articles"), ({"articles": "many"}, "articles"), ({"name": "a\x07b"}, "name")],
)
async def test_what_is_wrong_is_said_beside_the_field(
    ann: Browser, world: World, prefect: Asked, wrong: dict[str, str], field: str
) -> None:
    refused = await ann.post("/compare", **(await form(world) | wrong))
    assert refused.status_code == 422
    assert f'id="error-{field}"' in refused.text
    assert not prefect.runs


async def test_a_template_is_not_compared_with_itself(ann: Browser, world: World, prefect: Asked) -> None:
    sent = await form(world)
    refused = await ann.post("/compare", **(sent | {"template_b": sent["template_a"]}))
    assert (refused.status_code, 'id="error-template_b"' in refused.text) == (422, True)
    assert not prefect.runs


@pytest.mark.parametrize("error", [Transient("Prefect cannot be reached"), Invalid("Prefect knows no deployment")])
async def test_what_prefect_does_not_take_stays_and_is_started_again(
    ann: Browser, world: World, prefect: Asked, error: PressroomError
) -> None:
    prefect.error = error
    answer = await ann.post("/compare", **await form(world))
    assert f"It is kept, but it could not be started: {error}" in await said(ann, answer)
    prefect.error = None
    address = answer.headers["Location"]
    assert "It waits for a worker to begin." in (await ann.get(address)).text
    assert "It is started" in await said(ann, await ann.post(f"{address}/start"))
    assert len(prefect.runs) == 1


@pytest.fixture
def prefect_url(prefect_server: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a real server is, in the environment as `pressroom up` sets it."""
    from prefect.settings import PREFECT_API_URL

    del prefect_server
    url = str(PREFECT_API_URL.value())
    monkeypatch.setenv("PREFECT_API_URL", url)
    return url


async def test_a_run_is_asked_of_prefect_itself(prefect_url: str) -> None:
    from prefect.client.orchestration import get_client

    with pytest.raises(Invalid, match="pressroom deploy"):
        await runs.start_deployment("no_such_flow", {})
    async with get_client() as client:
        flow = await client.create_flow_from_name("compare_templates")
        await client.create_deployment(flow, "compare_templates", parameter_openapi_schema={})
        run_id = await runs.start_deployment("compare_templates", {"comparison_id": "x"})
        run = await client.read_flow_run(UUID(run_id))
    assert run.parameters == {"comparison_id": "x"}
    assert run.state is not None
    assert run.state.is_scheduled()
    assert prefect_url


@pytest.mark.parametrize(
    ("url", "words"),
    [(None, "There is no Prefect server"), ("http://127.0.0.1:9/api", "cannot be reached"), ("nonsense", "reached")],
)
async def test_without_prefect_the_error_says_what_to_start(
    monkeypatch: pytest.MonkeyPatch, url: str | None, words: str
) -> None:
    if url is None:
        monkeypatch.delenv("PREFECT_API_URL", raising=False)
    else:
        monkeypatch.setenv("PREFECT_API_URL", url)
    with pytest.raises(PressroomError, match=words) as caught:
        await runs.start_deployment("compare_templates", {})
    assert "pressroom up" in str(caught.value)


async def test_what_answers_instead_of_prefect_is_named(monkeypatch: pytest.MonkeyPatch, playground: Running) -> None:
    monkeypatch.setenv("PREFECT_API_URL", playground.url)
    with pytest.raises(PressroomError, match="Prefect"):
        await runs.start_deployment("compare_templates", {})


@pytest.mark.usefixtures("prefect")
async def test_a_comparison_is_ones_own_and_can_be_removed(house: House, ann: Browser, world: World) -> None:
    address = (await ann.post("/compare", **(await form(world)))).headers["Location"]
    async with house.as_("carl", "operator") as carl, house.as_("vera", "viewer") as vera:
        for path in (address, f"{address}/live"):
            assert (await carl.get(path)).status_code == 404
        for path in (f"{address}/start", f"{address}/remove"):
            assert (await carl.post(path)).status_code == 404
            assert (await vera.post(path)).status_code == 403
        assert "first or second" not in (await carl.get("/compare")).text
    assert "is removed" in await said(ann, await ann.post(f"{address}/remove"))
    assert (await ann.get(address)).status_code == 404
    assert len(await world.all_comments()) == 3


@pytest.mark.usefixtures("prefect")
async def test_every_page_takes_few_queries(ann: Browser, world: World, house: House) -> None:
    sent = await form(world)
    address = (await ann.post("/compare", **sent)).headers["Location"]
    [id_, *_] = [each.id for each in await world.all_comments()]
    asked: list[str] = []
    event.listen(house.database.engine.sync_engine, "before_cursor_execute", lambda *seen: asked.append(seen[2]))
    for path in (
        "/review?process=watch",
        f"/review/{id_}?process=watch",
        "/failures?process=watch",
        "/compare",
        address,
    ):
        asked.clear()
        assert (await ann.get(path)).status_code == 200
        assert len(asked) <= 8, (path, asked)


@pytest.mark.usefixtures("prefect")
async def test_the_pages_speak_german(ann: Browser, world: World) -> None:
    german = replace(ann, headers=ann.headers | {"Accept-Language": "de-CH"})
    [id_, *_] = await waiting(world)
    await failed(world, 2, "Timeout of the site", sent=1)
    sent = {"template_a": "friendly of watch", "template_b": "friendly of Timeout", "provider": "model of watch"}
    address = (await ann.post("/compare", **sent)).headers["Location"]
    for path, words in {
        "/review": "3 Kommentare warten auf einen Entscheid.",
        f"/review/{id_}": "Erst wenn ihn jemand freigibt",
        "/failures": "Ein neuer Versuch liest zuerst zurück",
        "/compare": "Nichts davon wird je veröffentlicht.",
        address: "Er wartet, bis ein Worker beginnt.",
    }.items():
        assert words in (await german.get(path)).text, path
