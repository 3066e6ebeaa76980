"""Runs, comparisons and the overview over the API. Prefect is a stand-in that notes what it is asked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from console.desk import runs
from lib.errors import Transient
from tests.integration.program import Program, Site, operator, site, things
from tests.world import World

__all__ = ["operator", "site", "things"]


@dataclass
class Prefect:
    """Takes every run, unless it is away."""

    away: bool = False
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    async def start(self, name: str, parameters: dict[str, Any]) -> str:
        if self.away:
            raise Transient("Prefect cannot be reached")
        self.asked.append((name, dict(parameters)))
        return str(uuid4())


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Prefect]:
    made = Prefect()
    monkeypatch.setattr(runs, "start_deployment", made.start)
    return made


async def test_a_stage_of_ones_own_process_is_run_now(
    site: Site, operator: Program, things: World, prefect: Prefect
) -> None:
    process_id = await things.process()
    headers = {"Idempotency_Key": "now"}
    run = await operator.ok("POST", "/runs", {"stage": "discovery", "process": "watch"}, **headers)
    assert UUID(run["flow_run_id"])
    assert await operator.ok("POST", "/runs", {"stage": "discovery", "process": "watch"}, **headers) == run
    assert prefect.asked == [("discover_articles", {"process_id": str(process_id)})]
    await operator.no(403, "POST", "/runs", {"stage": "posting"})
    async with site.program("other") as other:
        assert (await other("POST", "/runs", json={"stage": "posting", "process": str(process_id)})).is_client_error
    assert len(prefect.asked) == 1
    async with site.program("chief", "admin") as chief:
        await chief.ok("POST", "/runs", {"stage": "posting"})
    assert prefect.asked[1] == ("post_comments_for_articles", {"process_id": None})


async def test_without_prefect_it_is_said(operator: Program, things: World, prefect: Prefect) -> None:
    await things.process()
    prefect.away = True
    problem = await operator.no(424, "POST", "/runs", {"stage": "posting", "process": "watch"})
    assert "Prefect" in problem["detail"]
    problem = await operator.no(422, "POST", "/runs", {"stage": "nothing"})
    assert problem["errors"][0]["pointer"] == "#/stage"


async def past_articles(things: World, number: int) -> list[str]:
    process_id = await things.process()
    await things.template("other")
    return [str(id_) for id_ in await things.comments(process_id, number, "prepared", article_content="Ein Hund.")]


WANTED = {"template_a": "friendly of watch", "template_b": "other", "provider": "model of watch"}


async def test_two_templates_are_compared_on_past_articles(
    site: Site, operator: Program, things: World, prefect: Prefect
) -> None:
    ids = await past_articles(things, 3)
    articles = (await operator.ok("GET", "/comparisons/articles?process=watch"))["articles"]
    assert {each["comment"] for each in articles} == set(ids)
    made = await operator.ok("POST", "/comparisons", WANTED | {"comments": ids[:2], "name": "Which one?"})
    assert (made["status"], made["answers"], made["left"], len(made["pairs"])) == ("waiting", 4, 4, 2)
    assert prefect.asked == [("compare_templates", {"comparison_id": made["id"]})]
    assert await operator.ok("GET", f"/comparisons/{made['id']}") == made
    assert UUID((await operator.ok("POST", f"/comparisons/{made['id']}/start"))["flow_run_id"])
    newer = await operator.ok("POST", "/comparisons", WANTED | {"articles": 1})
    page = await operator.ok("GET", "/comparisons?limit=1")
    assert [each["id"] for each in page["items"]] == [newer["id"]]
    rest = await operator.ok("GET", f"/comparisons?limit=1&after={page['next']}")
    assert ([each["id"] for each in rest["items"]], rest["next"]) == ([made["id"]], None)
    async with site.program("other") as other:
        await other.no(404, "GET", f"/comparisons/{made['id']}")
        await other.no(404, "POST", f"/comparisons/{made['id']}/start")
        assert (await other("POST", "/comparisons", json=WANTED | {"comments": ids})).is_client_error
    assert await operator.ok("DELETE", f"/comparisons/{made['id']}") == {"removed": made["id"]}


async def test_what_cannot_be_started_is_not_made(operator: Program, things: World, prefect: Prefect) -> None:
    await past_articles(things, 1)
    prefect.away = True
    await operator.no(424, "POST", "/comparisons", WANTED)
    assert (await operator.ok("GET", "/comparisons"))["items"] == []
    for wrong in ({"template_b": "friendly of watch"}, {"articles": 21}, {"comments": ["x"]}, {"name": "\x00"}):
        assert (await operator("POST", "/comparisons", json=WANTED | wrong)).status_code == 422


async def test_the_overview_says_what_is_wrong(operator: Program, things: World) -> None:
    process_id = await things.process(budget_tokens=0)
    await things.comments(process_id, 2)
    found = await operator.ok("GET", "/overview")
    [process] = found["processes"]
    assert (process["comments"]["discovered"], len(process["stages"])) == (2, 4)
    assert [each["code"] for each in found["wrong"]] == ["budget_used_up"]
    assert found["wrong"][0]["subject"] == {"kind": "process", "id": str(process_id), "name": "watch"}
    [standing] = (await operator.ok("GET", "/budgets"))["budgets"]
    assert (standing["state"], standing["budget"]) == ("used_up", "0")
    assert any(each["code"] == "unwell" for each in (await operator.ok("GET", "/overview?health=true"))["wrong"])
