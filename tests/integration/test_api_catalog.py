"""Logins, providers and templates over the API: what is secret goes in and never comes out."""

from typing import Any
from uuid import UUID

import pytest

from lib.settings import Settings
from playground.accounts import LLM_MODEL
from playground.serve import Running
from tests.integration.program import Program, Site, operator, site, things
from tests.world import World

__all__ = ["operator", "site", "things"]
PASSWORD = "demo-ki-bot"
KEY = "playground-key"
LOGIN = {"name": "bot", "base_url": "http://127.0.0.1:9", "username": "ki-bot", "password": PASSWORD}
PROVIDER = {"name": "model", "base_url": "http://127.0.0.1:9/v1", "model": "small", "key": KEY}
TEMPLATE = {"name": "kind", "system_prompt": "You are kind.", "user_prompt": "What of {article_title}?"}
NOUNS = [("/logins", LOGIN), ("/providers", PROVIDER), ("/templates", TEMPLATE)]


@pytest.mark.parametrize(("noun", "wanted"), NOUNS, ids=[noun for noun, _ in NOUNS])
async def test_it_is_made_read_changed_and_deleted(operator: Program, noun: str, wanted: dict[str, Any]) -> None:
    made = await operator("POST", noun, json=wanted)
    assert made.status_code == 201, made.text
    path = made.headers["Location"].removeprefix("/api/v1")
    assert await operator.ok("GET", path) == made.json()
    assert [each["name"] for each in (await operator.ok("GET", noun))["items"]] == [wanted["name"]]
    await operator.no(409, "POST", noun, wanted)
    tag = made.headers["ETag"]
    assert (await operator("GET", path, headers={"If-None-Match": tag})).status_code == 304
    await operator.no(428, "PATCH", path, {"name": "other"})
    changed = await operator("PATCH", path, json={"name": "other", "is_active": False}, headers={"If-Match": tag})
    assert (changed.json()["name"], changed.json()["is_active"]) == ("other", False)
    await operator.no(412, "PATCH", path, {"name": "third"}, If_Match=tag)
    await operator.no(422, "PATCH", path, {"name": None}, If_Match="*")
    await operator.no(428, "DELETE", path)
    await operator.no(412, "DELETE", path, None, If_Match=tag)
    assert await operator.ok("DELETE", path, None, If_Match=changed.headers["ETag"]) == {"removed": "other"}
    await operator.no(404, "GET", path)


async def test_no_answer_holds_a_secret(operator: Program) -> None:
    said = ""
    for noun, wanted in NOUNS:
        made = await operator("POST", noun, json=wanted)
        path = made.headers["Location"].removeprefix("/api/v1")
        for method, address, json in (
            ("GET", path, None),
            ("GET", noun, None),
            ("POST", noun, wanted),
            ("POST", noun, wanted | {"name": "\x00"}),
            ("POST", noun, wanted | {"password": PASSWORD + "\x00", "key": KEY + "\x00"}),
            ("PATCH", path, {"password": PASSWORD, "key": KEY}),
        ):
            said += (await operator(method, address, json=json, headers={"If-Match": "*"})).text
        said += made.text
    assert [secret for secret in (PASSWORD, KEY, "ki-bot") if secret in said] == []


async def test_what_is_used_stays_and_says_by_what(operator: Program, things: World) -> None:
    await things.process("watch")
    for noun in ("/logins", "/providers", "/templates"):
        [found] = (await operator.ok("GET", noun))["items"]
        assert [(use["name"], use["status"]) for use in found["processes"]] == [("watch", "running")]
        await operator.no(409, "DELETE", f"{noun}/{found['id']}", None, If_Match="*")


async def test_a_login_and_a_provider_are_tried_for_real(operator: Program, playground: Running) -> None:
    site = playground.url
    login = await operator.ok("POST", "/logins", LOGIN | {"base_url": site, "test": True})
    assert await operator.ok("POST", f"/logins/{login['id']}/test") == {"name": "bot", "works": True}
    choices = await operator.ok("GET", f"/logins/{login['id']}/site-choices")
    assert (choices["reason"], {"id": "4", "name": "Anleiten"} in choices["categories"]) == (None, True)
    assert len(choices["tabs"]) > 1
    model = {"base_url": f"{site}/llm/v1", "model": LLM_MODEL}
    provider = await operator.ok("POST", "/providers", PROVIDER | model | {"test": True})
    tried = await operator.ok("POST", f"/providers/{provider['id']}/test")
    assert (tried["works"], tried["milliseconds"] >= 0) == (True, True)


async def test_what_does_not_work_is_said_and_not_saved(operator: Program, playground: Running) -> None:
    wrong = LOGIN | {"base_url": playground.url, "password": "not-this-one", "test": True}
    assert "does not accept" in (await operator.no(424, "POST", "/logins", wrong))["detail"]
    nobody = await operator.ok("POST", "/logins", LOGIN)
    await operator.no(424, "POST", f"/logins/{nobody['id']}/test")
    choices = await operator.ok("GET", f"/logins/{nobody['id']}/site-choices")
    assert (choices["tabs"], bool(choices["reason"])) == (None, True)
    await operator.no(424, "POST", "/providers", PROVIDER | {"test": True})
    assert (await operator.ok("GET", "/providers"))["items"] == []


async def test_a_preset_and_a_key_make_a_provider(operator: Program) -> None:
    presets = (await operator.ok("GET", "/providers/presets"))["presets"]
    assert {each["name"] for each in presets} == {"openai", "anthropic", "mistral", "google", "ollama"}
    made = await operator.ok("POST", "/providers", {"name": "mistral", "preset": "mistral", "key": "k"})
    assert made["base_url"] == "https://api.mistral.ai/v1"
    assert (await operator.ok("POST", "/providers", {"name": "here", "preset": "ollama"}))["model"] == "llama3.2"
    assert (await operator.no(422, "POST", "/providers", {"name": "x", "key": "k"}))["errors"][0]["pointer"]
    await operator.no(422, "POST", "/providers", {"name": "x", "preset": "nothing", "key": "k"})


async def test_a_providers_terms_are_set_and_taken_away(operator: Program, things: World) -> None:
    id_ = await things.provider("model")
    terms = {"input_price": "0.25", "output_price": 1, "currency": "chf", "budget_tokens": 10, "budget_money": "2.5"}
    made = await operator.ok("PATCH", f"/providers/{id_}", terms | {"max_tokens": 50}, If_Match="*")
    assert (made["currency"], made["input_price"], made["max_tokens"]) == ("CHF", "0.2500", 50)
    standings = (await operator.ok("GET", "/budgets"))["budgets"]
    assert [(each["owner"], each["unit"], each["used"]) for each in standings] == [
        ("provider", "tokens", "0"),
        ("provider", "money", "0"),
    ]
    gone = dict.fromkeys(("max_tokens", "budget_tokens", "budget_money", "input_price", "output_price"))
    bare = await operator.ok("PATCH", f"/providers/{id_}", gone, If_Match="*")
    assert {name: bare[name] for name in gone} == gone
    assert (await operator.ok("GET", "/budgets"))["budgets"] == []
    for name, value in (("temperature", 3), ("temperature", "NaN"), ("currency", "Franken"), ("input_price", -1)):
        problem = await operator.no(422, "PATCH", f"/providers/{id_}", {name: value}, If_Match="*")
        assert problem["errors"][0]["pointer"] == f"#/{name}"


async def test_a_template_is_filled_in_with_a_real_article(operator: Program, things: World) -> None:
    made = await operator.ok("POST", "/templates", TEMPLATE)
    assert (await operator.ok("GET", f"/templates/{made['id']}/preview"))["example"] is True
    process_id = await things.process()
    [comment] = await things.comments(process_id, 1, "prepared", article_content="Bello schläft.")
    shown = await operator.ok("GET", f"/templates/{made['id']}/preview?comment={comment}")
    assert (shown["example"], "Article 1" in shown["user"]) == (False, True)
    unsaved = {"system_prompt": "Be brief.", "user_prompt": "{article_content}"}
    assert "Bello" in (await operator.ok("POST", "/templates/preview", unsaved))["user"]
    await operator.no(404, "GET", f"/templates/{made['id']}/preview?comment={UUID(int=7)}")
    for prompt in ("{nothing}", "{", "a\x00", " ", ""):
        problem = await operator.no(422, "POST", "/templates", TEMPLATE | {"name": "x", "user_prompt": prompt})
        assert problem["errors"][0]["pointer"] == "#/user_prompt"


async def test_a_viewer_reads_what_is_theirs_and_changes_nothing(site: Site, settings: Settings) -> None:
    del settings
    async with site.program("reader", "viewer") as reader:
        assert (await reader.ok("GET", "/overview"))["processes"] == []
        for noun, wanted in NOUNS:
            await reader.no(403, "POST", noun, wanted)
