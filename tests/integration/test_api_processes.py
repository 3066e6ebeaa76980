"""Processes over the API: made, read, changed, started, stopped, deleted, and their pipeline's status."""

import json
from typing import Any
from uuid import UUID

from lib.settings import Settings
from playground.serve import Running
from tests.integration.program import Program, Site, operator, site, things
from tests.world import World

__all__ = ["operator", "site", "things"]
NOUN = "/monitoring-processes"
NOBODY = UUID(int=1)


async def make(operator: Program, things: World, **more: Any) -> Any:
    await things.login("bot")
    await things.provider("model", input_price=1)
    await things.template("friendly")
    wanted = {"name": "watch", "logins": ["bot"], "templates": ["friendly"], "provider": "model", "tab": "102"}
    return await operator.ok("POST", NOUN, wanted | more)


async def test_a_process_is_made_and_read_as_it_was_wanted(operator: Program, things: World) -> None:
    made = await make(operator, things, search="Hund", limit=5, budget_tokens=1000, budget_money="2.50")
    assert (made["name"], made["status"], made["posts"], made["missing"]) == ("watch", "created", False, [])
    assert (made["search"], made["limit"], made["logins"], made["provider"]) == ("Hund", 5, ["bot"], "model")
    assert [(each["unit"], each["budget"], each["state"]) for each in made["budgets"]] == [
        ("tokens", "1000", "fine"),
        ("money", "2.5000", "fine"),
    ]
    assert [stage["stage"] for stage in made["stages"]] == ["discovery", "preparation", "generation", "posting"]
    assert await operator.ok("GET", f"{NOUN}/{made['id']}") == made
    listed = await operator.ok("GET", NOUN)
    assert ([each["id"] for each in listed["items"]], listed["next"]) == ([made["id"]], None)


async def test_what_is_made_says_where_it_is(operator: Program) -> None:
    response = await operator("POST", NOUN, json={"name": "bare"})
    assert response.status_code == 201
    assert response.headers["Location"] == f"/api/v1{NOUN}/{response.json()['id']}"
    assert response.json()["missing"] == ["a login", "a template", "a provider"]


async def test_a_change_takes_the_version_that_was_seen(operator: Program, things: World) -> None:
    made = await make(operator, things, search="Hund")
    path = f"{NOUN}/{made['id']}"
    read = await operator("GET", path)
    tag = read.headers["ETag"]
    assert (await operator.no(428, "PATCH", path, {"limit": 3}))["detail"].endswith("send its ETag as If-Match")
    changed = await operator("PATCH", path, json={"limit": 3, "search": None}, headers={"If-Match": tag})
    assert (changed.json()["limit"], changed.json()["search"], changed.json()["tab"]) == (3, None, "102")
    assert "read it again" in (await operator.no(412, "PATCH", path, {"limit": 4}, If_Match=tag))["detail"]
    assert (await operator.ok("PATCH", path, {"limit": None}, If_Match=changed.headers["ETag"]))["limit"] is None
    assert (await operator.ok("PATCH", path, {"max_minutes": 9}, If_Match="*"))["max_minutes"] == 9
    await operator.no(412, "PATCH", path, {"limit": 4}, If_Match='"not-a-version"')
    await operator.no(412, "DELETE", path, None, If_Match=tag)
    await operator.no(428, "DELETE", path)


async def test_what_a_worker_does_makes_nobodys_change_stale(operator: Program, things: World) -> None:
    made = await make(operator, things)
    path = f"{NOUN}/{made['id']}"
    tag = (await operator("GET", path)).headers["ETag"]
    await things.comments(UUID(made["id"]), 2)
    later = await operator("GET", path, headers={"If-None-Match": tag})
    assert (later.status_code, later.json()["comments"]["discovered"]) == (200, 2)
    assert later.headers["ETag"] != tag
    await operator.ok("PATCH", path, {"description": "Two articles"}, If_Match=tag)


async def test_who_has_it_already_is_spared_it(operator: Program, things: World) -> None:
    path = f"{NOUN}/{(await make(operator, things))['id']}"
    tag = (await operator("GET", path)).headers["ETag"]
    for named in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        spared = await operator("GET", path, headers={"If-None-Match": named})
        assert (spared.status_code, spared.content, spared.headers["ETag"]) == (304, b"", tag)
    assert (await operator("GET", path, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_null_is_for_what_can_be_taken_away(operator: Program, things: World) -> None:
    path = f"{NOUN}/{(await make(operator, things, budget_tokens=5))['id']}"
    for name in ("name", "logins", "provider", "state", "post", "max_minutes"):
        problem = await operator.no(422, "PATCH", path, {name: None}, If_Match="*")
        assert problem["errors"][0]["pointer"] == f"#/{name}"
    assert (await operator.ok("PATCH", path, {"budget_tokens": None}, If_Match="*"))["budget_tokens"] is None


async def test_starting_and_stopping(operator: Program, things: World) -> None:
    path = f"{NOUN}/{(await make(operator, things))['id']}"
    started = await operator.ok("POST", f"{path}/start")
    assert (started["status"], started["seconds_left"] > 3500) == ("running", True)
    await operator.no(409, "POST", f"{path}/start", {"check": False})
    await operator.no(409, "PATCH", path, {"limit": 1}, If_Match="*")
    await operator.no(409, "DELETE", path, None, If_Match="*")
    assert (await operator.ok("POST", f"{path}/stop", {}))["status"] == "stopped"
    assert (await operator.ok("POST", f"{path}/stop"))["status"] == "stopped"
    assert (await operator.ok("DELETE", path, None, If_Match="*"))["removed"] == "watch"
    await operator.no(404, "GET", path)


async def test_what_a_process_lacks_is_named(operator: Program) -> None:
    bare = await operator.ok("POST", NOUN, {"name": "bare"})
    problem = await operator.no(422, "POST", f"{NOUN}/{bare['id']}/start")
    assert all(word in problem["detail"] for word in ("a login", "a template", "a provider"))


async def test_a_start_tries_the_credentials_when_it_is_told_to(
    settings: Settings, site: Site, operator: Program, playground: Running
) -> None:
    made = await make(operator, World(settings, site.database, playground.url))
    assert (await operator.ok("POST", f"{NOUN}/{made['id']}/start", {"check": True}))["status"] == "running"
    other = World(settings, site.database, playground.url)
    await other.login("wrong", password="not-the-password")
    await operator.ok("POST", f"{NOUN}/{made['id']}/stop")
    await operator.ok("PATCH", f"{NOUN}/{made['id']}", {"logins": ["wrong"]}, If_Match="*")
    problem = await operator.no(422, "POST", f"{NOUN}/{made['id']}/start", {"check": True})
    assert "does not accept" in problem["detail"]


async def test_stopping_everything_stops_ones_own(site: Site, operator: Program, things: World) -> None:
    for name in ("one", "two"):
        await things.process(name)
    async with site.program("other") as other:
        assert await other.ok("POST", f"{NOUN}/stop") == {"stopped": []}
    assert sorted((await operator.ok("POST", f"{NOUN}/stop"))["stopped"]) == ["one", "two"]


async def test_the_pipelines_status_is_that_of_the_plan(operator: Program, things: World) -> None:
    process_id = await things.process()
    await things.comments(process_id, 3)
    found = await operator.ok("GET", f"{NOUN}/{process_id}/pipeline-status")
    counts = {"discovered": 3, "prepared": 0, "generated": 0, "posted": 0, "failed": 0, "total": 3}
    assert {name: found[name] for name in counts} == counts
    await operator.no(404, "GET", f"{NOUN}/{NOBODY}/pipeline-status")


async def test_lists_have_pages(operator: Program, things: World) -> None:
    provider = await things.provider("model")
    ids = [
        str(await things.process(name, logins=[], templates=[], provider=provider, start=False))
        for name in ("c", "b", "a")
    ]
    first = await operator.ok("GET", f"{NOUN}?limit=2")
    assert [each["id"] for each in first["items"]] == ids[:2]
    await operator.ok("DELETE", f"{NOUN}/{ids[1]}", None, If_Match="*")
    second = await operator.ok("GET", f"{NOUN}?limit=2&after={first['next']}")
    assert ([each["id"] for each in second["items"]], second["next"]) == (ids[2:], None)


async def test_what_does_not_exist_is_named_where_it_stands(operator: Program) -> None:
    problem = await operator.no(422, "POST", NOUN, {"name": "watch", "provider": "nothing"})
    assert problem["errors"] == [{"detail": problem["detail"], "pointer": "#/provider"}]
    problem = await operator.no(422, "POST", NOUN, {"name": "watch", "logins": [str(NOBODY)]})
    assert problem["errors"][0]["pointer"] == "#/logins"
    await operator.ok("POST", NOUN, {"name": "watch"})
    assert (await operator.no(409, "POST", NOUN, {"name": "watch"}))["errors"][0]["pointer"] == "#/name"


HOSTILE: list[tuple[str, Any]] = [
    ("name", "a\x00b"),
    ("name", "a\u202eb"),
    ("name", "\x1b[31m"),
    ("name", "a\nb"),
    ("name", "x" * 101),
    ("name", ""),
    ("name", "   "),
    ("name", str(NOBODY)),
    ("name", 5),
    ("logins", ["\x00"]),
    ("logins", "bot"),
    ("provider", "\x00"),
    ("fallback", "a\x00"),
    ("tab", "a\x00"),
    ("search", "a\x00"),
    ("category", "4; DROP TABLE"),
    ("task", "٣"),
    ("limit", 10**400),
    ("limit", -1),
    ("limit", 1.5),
    ("max_minutes", 0),
    ("max_minutes", 2**63),
    ("budget_tokens", 10**30),
    ("budget_money", "1e400"),
    ("budget_money", "NaN"),
    ("budget_money", -0.01),
    ("post", "perhaps"),
    ("user_id", str(NOBODY)),
]


async def test_hostile_input_is_turned_away_by_name(operator: Program) -> None:
    for name, value in HOSTILE:
        problem = await operator.no(422, "POST", NOUN, {"name": "watch"} | {name: value})
        assert problem["errors"][0]["pointer"].startswith(f"#/{name}"), (name, value, problem)
    assert (await operator.ok("GET", NOUN))["items"] == []


NO_DOCUMENTS = {
    "half a character": b'{"name": "\\ud800"}',
    "a half name": b'{"\\ud800": 1, "name": "watch"}',
    "nan": b'{"name": NaN}',
    "deep": b"[" * 100_000,
    "a long number": b'{"name": "watch", "limit": ' + b"9" * 5000 + b"}",
    "no text": b"\xff\xfe",
    "null": b"null",
    "nothing": b"",
    "a long name": json.dumps({"name": "watch", "x" * 200_000: 1}).encode(),
}


async def test_a_body_that_is_no_document_is_no_defect_of_ours(operator: Program) -> None:
    for what, body in NO_DOCUMENTS.items():
        response = await operator("POST", NOUN, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code in (400, 422), (what, response.text)
        assert response.headers["Content-Type"] == "application/problem+json"
        assert len(response.content) < 2000, what


async def test_a_parameter_is_named_too(operator: Program) -> None:
    for query in ("after=x", "limit=0", "limit=201", f"limit={10**30}", "limit=%00", "after=%00"):
        problem = await operator.no(422, "GET", f"{NOUN}?{query}")
        assert problem["errors"][0]["parameter"] == query.partition("=")[0]
