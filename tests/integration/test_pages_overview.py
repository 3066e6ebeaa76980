"""The overview, a process, its form and a comment, as people see and use them."""

import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from html import unescape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID

import httpx
import pytest
from sqlalchemy import event, text

from console.pages.charts import bar, chart
from console.pages.language import language
from lib.database import Database
from lib.people.models import AuditEntry
from tests.integration.pages import house
from tests.integration.test_console_security import Browser, House
from tests.world import World

__all__ = ["house"]

OWNER = "operator"  # as tests.world names the owner of what it makes


@pytest.fixture(autouse=True)
def _no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_UI_URL", raising=False)


@pytest.fixture
async def owner(house: House) -> AsyncIterator[Browser]:
    async with house.as_(OWNER, "operator") as browser:
        yield browser


def words(response: httpx.Response) -> str:
    """What a page says, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", response.text)).split())


def poll_of(page: httpx.Response) -> tuple[str, dict[str, str]]:
    """What the page's live part asks for."""
    found = re.search(r'hx-get="([^"]+/live)"[^>]*hx-vals=\'([^\']+)\'', page.text)
    assert found is not None
    return found[1], json.loads(unescape(found[2]))


@contextmanager
def queries(database: Database) -> Iterator[list[str]]:
    """What the database is asked meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    yield seen
    event.remove(database.engine.sync_engine, "before_cursor_execute", note)


async def change(world: World, statement: str, **values: Any) -> None:
    async with world.database.session() as session:
        await session.execute(text(statement), values)


async def actions(world: World) -> list[str]:
    async with world.database.session() as session:
        return list(await session.scalars(AuditEntry.__table__.select().with_only_columns(AuditEntry.action)))


# The overview


async def test_an_empty_house_leads_through_the_four_steps(house: House, world: World, owner: Browser) -> None:
    page = await owner.get("/")
    assert [page.text.index(address) for address in ("/logins/new", "/providers/new", "/templates/new")] == sorted(
        page.text.index(address) for address in ("/logins/new", "/providers/new", "/templates/new")
    )
    assert 'class="button primary" href="/logins/new"' in page.text
    await world.login()
    page = await owner.get("/")
    assert 'href="/logins/new"' not in page.text
    assert 'class="button primary" href="/providers/new"' in page.text
    async with house.as_("looker") as looker:
        page = await looker.get("/")
        assert "Ask an administrator to make you an operator" in page.text
        assert "/processes/new" not in page.text
        assert "Bitten Sie einen Administrator" in (await looker.get("/", headers={"Accept-Language": "de"})).text


async def test_the_overview_says_how_each_stage_stands_in_words_and_bars(world: World, owner: Browser) -> None:
    process = await world.process("watch <b>", generate_only=True)
    await world.comments(process, 3, "prepared", article_content="Text")
    await change(
        world, "UPDATE ai_comments SET status = 'generated', comment_content = 'x' WHERE mymoment_article_id = '1'"
    )
    page = await owner.get("/")
    assert "watch &lt;b&gt;" in page.text
    assert "watch <b>" not in page.text
    said = words(page)
    assert "Generation: 2 waiting, 1 done" in said
    assert "1 to review" in said
    assert "60 min left" in said
    assert '<rect class="waiting"' in page.text
    assert "style=" not in page.text
    assert "Nothing was posted in the last 24 hours." in said


async def test_only_what_changed_is_sent_and_only_what_is_new_is_said_aloud(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    await world.comments(process, 2, "prepared", article_content="Text")
    address, seen = poll_of(await owner.get("/"))
    assert (await owner.get(address, params=seen)).status_code == 204

    failing = (
        "UPDATE ai_comments SET status = 'failed', failed_from = 'prepared', failed_at = now(), error_message = 'No'"
    )
    await change(world, failing)
    answer = await owner.get(address, params=seen)
    assert "2 comments of “watch” failed in the last hour: No" in words(answer)
    assert 'id="wrong-said"' in answer.text
    assert 'id="processes"' in answer.text
    assert 'id="hours"' not in answer.text
    assert "<html" not in answer.text

    _, seen = poll_of(answer)
    assert (await owner.get(address, params=seen)).status_code == 204
    await change(world, "UPDATE ai_comments SET status = 'prepared' WHERE mymoment_article_id = '1'")
    answer = await owner.get(address, params=seen)
    assert "1 comment of “watch” failed" in words(answer)
    assert 'id="wrong-said"' not in answer.text


async def test_what_is_wrong_says_what_to_do_in_the_readers_language(world: World, owner: Browser) -> None:
    login = await world.login("bot")
    await world.process("watch", logins=[login])
    await change(world, "UPDATE mymoment_logins SET is_active = false")
    await change(world, "UPDATE monitoring_processes SET started_at = now() - interval '1 hour'")
    page = await owner.get("/", headers={"Accept-Language": "de"})
    assert "Das Login «bot» ist ausgeschaltet, wird aber gebraucht von: watch" in words(page)
    assert "Die Stufe «Suche» von «watch» hatte seit 60 Minuten keinen Erfolg." in words(page)
    assert f'href="/logins/{login}"' in page.text


async def test_many_processes_are_a_line_each_in_few_queries(house: House, world: World, owner: Browser) -> None:
    login, provider, template = await world.login(), await world.provider(budget_tokens=5), await world.template()
    for number in range(12):
        await world.process(f"p {number}", logins=[login], templates=[template], provider=provider, start=number < 2)
    with queries(house.database) as seen:
        page = await owner.get("/")
    assert 'class="processes many"' in page.text
    assert page.text.index("p 1<") < page.text.index("p 10<")
    assert len(seen) <= 8, seen


async def test_stop_everything_asks_and_then_stops_what_is_mine(house: House, world: World, owner: Browser) -> None:
    first, second = await world.process("one"), await world.process("two")
    page = await owner.get("/stop-everything")
    assert "2 processes run now" in words(page)
    assert (await world.get_process(first)).status == "running"
    async with house.as_("another", "operator") as another:
        await another.post("/stop-everything")
        assert (await world.get_process(first)).status == "running"
    done = await owner.post("/stop-everything")
    assert done.headers["Location"] == "/"
    assert {(await world.get_process(each)).status for each in (first, second)} == {"stopped"}
    assert "2 processes are stopped. Nothing more is posted." in words(await owner.get("/"))
    assert (await actions(world)).count("process.stop") == 2


async def test_what_posts_on_after_its_end_can_be_stopped_from_both_pages(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    await world.comments(process, 1, "generated", comment_content="x")
    await owner.post(f"/processes/{process}/stop")
    stop = f'action="/processes/{process}/stop"'
    page = await owner.get(f"/processes/{process}")
    assert stop not in page.text
    address, seen = poll_of(page)
    approved = "UPDATE ai_comments SET approval = 'approved', approval_at = clock_timestamp()"
    await change(world, approved)
    assert (await owner.get(address, params=seen)).headers["HX-Refresh"] == "true"
    page = await owner.get(f"/processes/{process}")
    assert stop in page.text
    assert f'action="/processes/{process}/start"' in page.text
    assert "What was approved after its end is still posted" in words(page)
    assert "1 process has ended, but what was approved since is still posted: watch" in words(
        await owner.get("/stop-everything")
    )
    await owner.post(f"/processes/{process}/stop")
    assert stop not in (await owner.get(f"/processes/{process}")).text
    assert "nothing approved waits to be posted" in words(await owner.get("/stop-everything"))


async def test_a_failed_process_can_be_started_from_its_page(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    await change(world, "UPDATE monitoring_processes SET status = 'failed', error_message = 'gone'")
    assert f'action="/processes/{process}/start"' in (await owner.get(f"/processes/{process}")).text
    assert (await owner.post(f"/processes/{process}/start")).status_code == 303
    assert (await world.get_process(process)).status == "running"


def test_a_bar_fills_its_width_and_shows_the_smallest_part() -> None:
    parts = bar({"waiting": 1, "working": 0, "done": 999, "failed": 0})
    assert [part.kind for part in parts] == ["waiting", "done"]
    assert parts[0].width > 2
    assert sum(part.width for part in parts) == pytest.approx(100, abs=0.1)
    assert bar({"waiting": 0}) == ()


def test_a_chart_knows_its_highest_hour() -> None:
    drawn = chart([0] * 20 + [3, 7, 0, 1])
    assert (drawn.highest, drawn.total, drawn.peak) == (7, 11, 2)
    assert drawn.columns[21].height == drawn.height
    assert drawn.columns[0].height == 0
    assert chart([0] * 24).total == 0


# A process


async def test_a_process_shows_all_of_it_in_eight_queries(house: House, world: World, owner: Browser) -> None:
    provider = await world.provider(budget_tokens=1000)
    process = await world.process("watch", provider=provider, budget_tokens=100)
    await world.comments(process, 30, "prepared")
    spent = (
        "INSERT INTO llm_usage (day, process_id, provider_id, calls, input_tokens, output_tokens, cost, currency) "
        "VALUES ((now() AT TIME ZONE 'Europe/Zurich')::date, :process, :provider, 1, 80, 5, 0, 'USD')"
    )
    await change(world, spent, process=process, provider=provider)
    with queries(house.database) as seen:
        page = await owner.get(f"/processes/{process}")
    assert len(seen) <= 8, seen
    assert "85 of 100 tokens" in words(page)
    assert "nearly used up" in words(page)
    assert "It posts by itself, for children to read." in words(page)
    assert page.text.count('href="/comments/') == 25


async def test_its_comments_come_page_by_page_and_by_what_became_of_them(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    await world.comments(process, 30, "generated", comment_content="x")
    await change(world, "UPDATE ai_comments SET approval = 'rejected' WHERE mymoment_article_id = '3'")
    page = await owner.get(f"/processes/{process}", params={"show": "to review"})
    older = re.search(r'href="(\?show=[^"]+after=[^"#]+)', page.text)
    assert older is not None
    rest = await owner.get(f"/processes/{process}{unescape(older[1])}")
    first, second = (set(re.findall(r'href="/comments/([^"]+)"', each.text)) for each in (page, rest))
    assert (len(first), len(second), first & second) == (25, 4, set())
    assert "Article 3<" in (await owner.get(f"/processes/{process}?show=rejected")).text
    assert "There is none like that." in (await owner.get(f"/processes/{process}?show=posted")).text
    assert (await owner.get(f"/processes/{process}?show=nonsense")).status_code == 422


async def test_starting_says_everything_that_is_missing_or_does_not_work(world: World, owner: Browser) -> None:
    wrong = await world.login(password="not it")
    process = await world.process("watch", logins=[wrong], templates=[], start=False)
    page = await owner.get(f"/processes/{process}")
    assert "Before it can start it needs: a template" in words(page)
    assert "--template" not in page.text
    refused = await owner.post(f"/processes/{process}/start")
    assert refused.status_code == 422
    assert "does not accept" in refused.text
    assert "ki-bot" not in refused.text
    assert (await world.get_process(process)).status == "created"


async def test_a_process_is_started_from_its_page_and_stopped(world: World, owner: Browser) -> None:
    process = await world.process("watch", start=False)
    done = await owner.post(f"/processes/{process}/start")
    assert done.status_code == 303, words(done)
    page = await owner.get(f"/processes/{process}")
    assert "“watch” runs for 60 minutes." in words(page)
    assert f'action="/processes/{process}/stop"' in page.text

    address, seen = poll_of(page)
    assert (await owner.get(address, params=seen)).status_code == 204
    assert (await owner.post(f"/processes/{process}/stop")).status_code == 303
    assert (await world.get_process(process)).status == "stopped"
    assert "Nothing more is posted for it." in words(await owner.get(f"/processes/{process}"))
    assert (await owner.get(address, params=seen)).headers["HX-Refresh"] == "true"


async def test_the_live_part_of_a_process_has_its_stages(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    address, seen = poll_of(await owner.get(f"/processes/{process}"))
    await world.comments(process, 2)
    answer = await owner.get(address, params=seen)
    assert re.findall(r'id="(stage-\w+)"', answer.text) == [
        "stage-discovery", "stage-preparation", "stage-generation", "stage-posting",
    ]  # fmt: skip
    assert "2 waiting" in words(answer)


class FakePrefect(BaseHTTPRequestHandler):
    """Knows every deployment, and remembers what it was asked to run."""

    asked: list[Any]

    def do_GET(self) -> None:
        self._answer({"id": "0190c1c2-0000-7000-8000-000000000001"})

    def do_POST(self) -> None:
        self.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self._answer({"id": "0190c1c2-0000-7000-8000-000000000002"})

    def _answer(self, document: dict[str, str]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def prefect(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FakePrefect]]:
    kind = type("Asked", (FakePrefect,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_port}/api")
        yield kind
        server.shutdown()


async def test_a_stage_is_run_now_and_its_runs_are_links_into_prefect(
    world: World, owner: Browser, prefect: type[FakePrefect], monkeypatch: pytest.MonkeyPatch
) -> None:
    process = await world.process("watch")
    await change(world, "UPDATE monitoring_process_stages SET last_started_at = now(), flow_run_id = 'abc'")
    monkeypatch.setenv("PREFECT_UI_URL", "https://prefect.example/")
    page = await owner.get(f"/processes/{process}")
    assert page.text.count('href="https://prefect.example/runs/flow-run/abc"') == 4
    done = await owner.post(f"/processes/{process}/run/generation")
    assert done.status_code == 303, words(done)
    [(path, body)] = prefect.asked
    assert path.endswith("/create_flow_run")
    assert body["parameters"] == {"process_id": str(process)}
    assert "process.run" in await actions(world)
    await owner.post(f"/processes/{process}/stop")
    assert (await owner.post(f"/processes/{process}/run/generation")).status_code == 409
    assert len(prefect.asked) == 1


async def test_a_process_is_deleted_only_by_its_name(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    await world.comments(process, 3)
    assert "Stop it first" in words(await owner.get(f"/processes/{process}/delete"))
    await owner.post(f"/processes/{process}/stop")
    page = await owner.get(f"/processes/{process}/delete")
    assert "the records of 3 comments" in words(page)
    wrong = await owner.post(f"/processes/{process}/delete", name="wach")
    assert wrong.status_code == 422
    assert 'value="wach"' in wrong.text
    assert 'aria-invalid="true"' in wrong.text
    done = await owner.post(f"/processes/{process}/delete", name="watch")
    assert done.headers["Location"] == "/"
    assert await world.all_comments() == []


async def test_nobody_sees_or_changes_what_is_another_owners(house: House, world: World) -> None:
    process = await world.process("watch")
    [comment] = await world.comments(process, 1, "generated", comment_content="x")
    async with house.as_("another", "operator") as another:
        for path in (f"/processes/{process}", f"/processes/{process}/edit", f"/comments/{comment}"):
            assert (await another.get(path)).status_code == 404, path
        for path in (f"/processes/{process}/stop", f"/processes/{process}/delete", f"/comments/{comment}/approve"):
            assert (await another.post(path, name="watch")).status_code in (404, 409), path
        assert "watch" not in (await another.get("/comments")).text
    async with house.as_("looker") as looker:
        for path in ("/processes/new", "/stop-everything", f"/processes/{process}/edit"):
            assert (await looker.get(path)).status_code == 403, path
    assert (await world.get_process(process)).status == "running"
    assert (await world.all_comments())[0].approval is None


# The form


async def parts(world: World) -> dict[str, str]:
    made = await world.login(), await world.template(), await world.provider()
    return dict(zip(("logins", "templates", "provider"), map(str, made), strict=True))


async def test_a_new_process_only_writes_drafts_unless_chosen_otherwise(world: World, owner: Browser) -> None:
    page = await owner.get("/processes/new")
    assert re.search(r'id="posts-no"[^>]+checked', page.text)
    assert "Children read it." in words(page)
    given = {"name": "watch", "tab": "102", "max_minutes": "90", "budget_tokens": "20'000"}
    done = await owner.post("/processes/new", **(await parts(world)), **given)
    assert done.status_code == 303, words(done)
    row = await world.get_process(UUID(done.headers["Location"].rsplit("/", 1)[1]))
    assert (row.generate_only, row.max_duration_minutes, row.budget_tokens, row.tab_filter) == (True, 90, 20_000, "102")


async def test_what_is_wrong_stands_beside_its_field_with_what_was_typed(world: World, owner: Browser) -> None:
    chosen = await parts(world)
    given = {"name": "watch", "limit": "many", "max_minutes": "", "posts": "yes"}
    wrong = await owner.post("/processes/new", **chosen, **given)
    assert wrong.status_code == 422
    for field in ("limit", "max_minutes"):
        assert f'id="error-{field}"' in wrong.text, field
    assert 'value="many"' in wrong.text
    assert re.search(r'id="posts-yes"[^>]+checked', wrong.text)
    assert re.search(rf'value="{chosen["logins"]}" checked', wrong.text)
    german = await owner.client.post(
        "/processes/new",
        data={"csrf_token": await owner.token("/processes/new"), "name": "watch", "category": "x", "max_minutes": "5"},
        headers={"Accept-Language": "de"},
    )
    assert "Die Kategorie muss eine Nummer sein" in german.text
    assert 'id="error-category"' in german.text


async def test_a_taken_name_and_a_fallback_that_is_none_are_said(world: World, owner: Browser) -> None:
    chosen = await parts(world)
    assert (await owner.post("/processes/new", **chosen, name="watch", max_minutes="5")).status_code == 303
    taken = await owner.post("/processes/new", **chosen, name="watch", max_minutes="5")
    assert taken.status_code == 409
    assert 'id="error-name"' in taken.text
    same = await owner.post("/processes/new", **chosen, name="other", max_minutes="5", fallback=chosen["provider"])
    assert 'id="error-fallback"' in same.text


async def test_a_change_on_an_old_state_is_not_saved_and_says_what_to_do(world: World, owner: Browser) -> None:
    process = await world.process("watch", start=False, description="before")
    page = await owner.get(f"/processes/{process}/edit")
    form = filled(page)
    assert form["description"] == "before"
    await change(world, "UPDATE monitoring_processes SET description = 'by another'")
    stale = await owner.post(f"/processes/{process}/edit", **(form | {"description": "mine"}))
    assert stale.status_code == 409
    assert "Nothing was saved. Look at what it is now" in words(stale)
    assert 'value="mine"' in stale.text
    form = filled(await owner.get(f"/processes/{process}/edit"))
    done = await owner.post(f"/processes/{process}/edit", **(form | {"description": "", "posts": "no"}))
    assert done.status_code == 303, words(done)
    row = await world.get_process(process)
    assert (row.description, row.generate_only) == (None, True)


def filled(page: httpx.Response) -> dict[str, str]:
    """What a browser would send of the settings form as it is."""
    found: dict[str, str] = {}
    for tag in re.findall(r"<input[^>]+>", page.text):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        ticked = not re.search(r'type="(checkbox|radio)"', tag) or " checked" in tag
        if name and value and ticked and name[1] != "csrf_token":
            found[name[1]] = unescape(value[1])
    for name, body in re.findall(r'<select[^>]*name="([^"]+)"[^>]*>(.*?)</select>', page.text, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', body)
        found[name] = chosen[1] if chosen else ""
    return found


async def test_a_running_process_is_not_changed_and_loses_no_part(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    page = await owner.get(f"/processes/{process}/edit")
    assert "can be changed only when it does not" in words(page)
    refused = await owner.post(f"/processes/{process}/edit", **filled(page))
    assert refused.status_code == 409
    assert "stop it first" in words(refused)
    await owner.post(f"/processes/{process}/stop")
    form = filled(await owner.get(f"/processes/{process}/edit"))
    form.pop("logins")
    emptied = await owner.post(f"/processes/{process}/edit", **form)
    assert emptied.status_code == 422
    assert 'id="error-logins"' in emptied.text


async def test_tabs_are_those_of_the_site_and_ids_are_typed_where_it_cannot_be_read(
    house: House, world: World, owner: Browser
) -> None:
    login = await world.login()
    read = await owner.get("/processes/site-choices", params={"logins": str(login), "tab": "77"})
    assert '<select id="field-tab"' in read.text
    assert "(102)" in read.text
    assert "Unterhalten" in read.text
    assert "77 (not on the site now)" in read.text
    wrong = await world.login("wrong", password="not it")
    typed = await owner.get("/processes/site-choices", params={"logins": str(wrong), "tab": "102"})
    assert '<input id="field-tab"' in typed.text
    assert 'value="102"' in typed.text
    assert "The site cannot be read now" in typed.text
    async with house.as_("another", "operator") as another:
        foreign = await another.get("/processes/site-choices", params={"logins": str(login)})
        assert '<input id="field-tab"' in foreign.text


async def test_the_form_of_a_process_takes_few_queries(house: House, world: World, owner: Browser) -> None:
    process = await world.process("watch", start=False)
    with queries(house.database) as seen:
        assert (await owner.get(f"/processes/{process}/edit")).status_code == 200
    assert len(seen) <= 8, seen


# Comments


async def attempt(world: World, comment: UUID, number: int, outcome: str, **more: str) -> None:
    values = {
        "comment": comment, "number": number, "outcome": outcome, "error": None, "findings": "[]", "answer": "Schön!",
    } | more  # fmt: skip
    await change(
        world,
        "INSERT INTO generation_attempts (comment_id, claim_token, attempt, started_at, provider_id, provider_name, "
        "template_id, outcome, error, flow_run_id, prompt_system, prompt_user, answer, findings, input_tokens, "
        "output_tokens, milliseconds) VALUES (:comment, gen_random_uuid(), :number, now(), gen_random_uuid(), 'model', "
        "gen_random_uuid(), :outcome, :error, 'run-7', 'Be kind', 'Ein <script>', :answer, CAST(:findings AS jsonb), "
        "300, 20, 1500)",
        **values,
    )


async def test_a_comment_tells_its_whole_life(
    house: House, world: World, owner: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_UI_URL", "https://prefect.example")
    process = await world.process("watch", generate_only=True)
    [comment] = await world.comments(process, 1, "prepared", article_content="Ein <script>alert(1)</script>")
    found = '[{"rule": "link", "detail": "it holds a link"}]'
    await attempt(world, comment, 1, "rejected", error="The answer holds a link", findings=found, answer="www.x.test")
    await attempt(world, comment, 2, "accepted")
    await change(world, "UPDATE ai_comments SET status = 'generated', comment_content = 'Schön!'")
    with queries(house.database) as seen:
        page = await owner.get(f"/comments/{comment}")
    assert len(seen) <= 8, seen
    assert "<script>alert" not in page.text
    said = words(page)
    for part in ("Call 1 of the model rejected", "it holds a link", "Call 2 of the model accepted", "1.5 s"):
        assert part in said, part
    for part in ("2 calls, 640 tokens", "Be kind", "www.x.test", "prepared → generated", "Waits for a decision."):
        assert part in said, part
    assert 'href="https://prefect.example/runs/flow-run/run-7"' in page.text
    assert f'href="/review/{comment}"' in page.text


async def test_a_comment_is_approved_as_it_was_seen_or_not_at_all(world: World, owner: Browser) -> None:
    process = await world.process("watch", generate_only=True)
    [comment] = await world.comments(process, 1, "generated", comment_content="x")
    page = await owner.get(f"/comments/{comment}")
    version = re.search(r'name="version" value="([^"]+)"', page.text)
    assert version is not None
    await change(world, "UPDATE ai_comments SET comment_content = 'other', updated_at = clock_timestamp()")
    stale = await owner.post(f"/comments/{comment}/approve", version=version[1])
    assert stale.status_code == 409
    assert "It changed since you looked." in words(stale)
    fresh = re.search(r'name="version" value="([^"]+)"', stale.text)
    assert fresh is not None
    assert (await owner.post(f"/comments/{comment}/approve", version=fresh[1])).status_code == 303
    assert (await world.all_comments())[0].approval == "approved"
    page = await owner.get(f"/comments/{comment}")
    assert "Approved" in words(page)
    assert f"by {OWNER}" in words(page)
    assert f'action="/comments/{comment}/approve"' not in page.text


async def test_a_retry_that_was_sent_before_says_that_it_reads_back_first(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    [comment] = await world.comments(process, 1, "generated", comment_content="x")
    await change(
        world,
        "UPDATE ai_comments SET status = 'failed', failed_from = 'generated', failed_at = now(), "
        "post_sent_at = now(), error_message = 'Outcome unknown'",
    )
    page = await owner.get(f"/comments/{comment}")
    assert "first looks for it there" in words(page)
    assert f"/review/{comment}" not in page.text
    assert (await owner.post(f"/comments/{comment}/retry")).status_code == 303
    [row] = await world.all_comments()
    assert (row.status, row.post_sent_at is not None) == ("generated", True)
    assert (await owner.post(f"/comments/{comment}/retry")).status_code == 409


async def test_a_posted_comment_links_to_its_place_on_the_site_and_only_there(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    [comment] = await world.comments(process, 1, "prepared")
    posted = "UPDATE ai_comments SET status = 'posted', posted_at = now(), mymoment_comment_id = '9001'"
    await change(world, posted)
    page = await owner.get(f"/comments/{comment}")
    assert f'href="{world.site}/article/1/#comment-9001"' in page.text
    await change(world, "UPDATE ai_comments SET article_url = 'javascript:alert(1)'")
    assert 'href="javascript' not in (await owner.get(f"/comments/{comment}")).text


async def test_the_list_filters_and_goes_on(house: House, world: World, owner: Browser) -> None:
    first = await world.process("one")
    await world.process("two")
    await world.comments(first, 27, "generated", comment_content="x")
    with queries(house.database) as seen:
        page = await owner.get("/comments", params={"process": str(first), "status": "generated", "approval": "none"})
    assert len(seen) <= 8, seen
    older = re.search(r'href="(/comments\?[^"]+after=[^"]+)"', page.text)
    assert older is not None
    assert len(re.findall(r'href="/comments/[0-9a-f-]{36}"', (await owner.get(unescape(older[1]))).text)) == 2
    assert "There is none like that." in words(await owner.get("/comments?status=posted&process="))
    assert (await owner.get("/comments?process=one")).status_code == 422
    assert (await owner.get("/comments?status=nonsense")).status_code == 422


def test_every_filter_of_a_process_has_german_words() -> None:
    from console.pages.processes import FILTERS

    spoken = language("de")
    assert [name for name in FILTERS if spoken.gettext(name) == name] == []


async def test_pages_are_german_where_the_browser_asks(world: World, owner: Browser) -> None:
    process = await world.process("watch")
    [comment] = await world.comments(process, 1, "generated", comment_content="x", article_content="y")
    english = ("Stages", "The comment", "Which articles", "The newest first", "What is wrong")
    for path in ("/", f"/processes/{process}", f"/processes/{process}/edit", f"/comments/{comment}", "/comments"):
        page = await owner.get(path, headers={"Accept-Language": "de-CH"})
        assert page.status_code == 200
        assert not [each for each in english if each in words(page)], path
