"""The tasks in a browser: cards, history, failures by kind, one record, and trying again with the numbers agreed to."""

import json
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.integration.pages import ann, audited, change, failed, house, row, said
from tests.integration.task_records import a_record, written
from tests.integration.test_console_security import Browser, House
from tests.integration.test_pages_overview import queries, words
from tests.world import World

__all__ = ["ann", "house"]

HOSTILE = "<script>alert(1)</script> \"' &amp; {{ 7*7 }} %(name)s"


@pytest.fixture(autouse=True)
def _no_prefect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_UI_URL", raising=False)


async def mine(world: World, *records: dict[str, Any], **beat: int) -> list[UUID]:
    """Written as Ann's."""
    owner = await world.user()
    return await written(world, [{"owner_id": owner} | each for each in records], **beat)


def listed(page: httpx.Response) -> list[str]:
    """The records of the table, in its order."""
    return re.findall(r'id="record-([0-9a-f-]{36})"', page.text)


def link(page: httpx.Response, label: str) -> str:
    found = re.search(rf'href="([^"]+)"[^>]*>{label}<', page.text)
    assert found is not None, label
    return unescape(found[1])


def confirmed(page: httpx.Response) -> str:
    found = re.search(r'name="confirmed" value="([^"]+)"', page.text)
    assert found is not None, page.text
    return found[1]


def live_of(page: httpx.Response) -> tuple[str, dict[str, str]]:
    found = re.search(r'id="tasks-live"[^>]*hx-get="([^"]+)"[^>]*hx-vals=\'([^\']+)\'', page.text)
    assert found is not None
    return unescape(found[1]), json.loads(unescape(found[2]))


# What there is to see


async def test_without_records_the_page_says_what_to_do(ann: Browser) -> None:
    page = await ann.get("/tasks?hours=168")
    assert "Start a process: whatever it does shows here as it happens." in words(page)
    assert "Nothing is recorded yet." in words(page)
    short = await ann.get("/tasks")
    assert 'href="/tasks?hours=168"' in short.text
    assert "Nothing failed." in words(await ann.get("/tasks?view=failures"))


async def test_a_card_says_how_a_task_does(ann: Browser, world: World) -> None:
    records = [a_record(took=100.0) for _ in range(3)]
    records += [a_record("failed"), a_record("running", ago=2), a_record("pending", ago=1)]
    await mine(world, *records)
    page = await ann.get("/tasks")
    card = re.search(r'<article class="card task-card".*?</article>', page.text, re.DOTALL)
    assert card is not None
    text = " ".join(unescape(re.sub(r"<[^>]+>", " ", card[0])).split())
    assert "prepare article" in text
    assert "look out" in text
    assert "Total 6 Running 1 Pending 1 Failed 1 Success 75 %" in text
    assert "Average 100 ms" in text
    assert re.search(r"95 % within (9[6-9]|10[0-4]) ms", text), text
    assert '<rect class="done"' in card[0]
    assert '<rect class="failed"' in card[0]
    assert "style=" not in page.text


async def test_what_waits_for_a_task_is_on_its_card(ann: Browser, world: World) -> None:
    process = await world.process("watch")
    await world.comments(process, 3, "prepared", article_content="Text")
    assert re.search(r"generate comment .* In line 3", words(await ann.get("/tasks")))


async def test_the_window_is_in_the_address(ann: Browser, world: World) -> None:
    await mine(world, a_record(ago=3 * 3600), a_record(task_name="post_comment", ago=60))
    assert 'id="task-2"' in (await ann.get("/tasks?hours=6")).text
    assert 'id="task-2"' not in (await ann.get("/tasks?hours=1")).text
    assert (await ann.get("/tasks?hours=5")).status_code == 422


async def test_what_was_lost_or_is_held_back_is_said_and_nothing_else(ann: Browser, world: World) -> None:
    await mine(world, a_record())
    page = words(await ann.get("/tasks"))
    assert "lost" not in page
    assert "not written yet" not in page
    await mine(world, a_record(), dropped=3, spilled=1200)
    page = words(await ann.get("/tasks"))
    assert "3 records were lost" in page
    assert "1,200 records wait in a file" in page


async def test_the_history_filters_by_what_is_in_the_address(ann: Browser, world: World) -> None:
    process = await world.process("watch")
    prepared, broken, posted = await mine(
        world,
        a_record(ago=300),
        a_record("failed", ago=200, process_id=process, error_message="Garbage in the answer"),
        a_record(ago=100, task_name="post_comment", run_name="post on “Igel”"),
    )
    everything = await ann.get("/tasks")
    assert listed(everything) == [str(posted), str(broken), str(prepared)]
    assert "3 records" in words(everything)
    for query, found in {
        "task=post_comment": [posted],
        "status=failed": [broken],
        f"process={process}": [broken],
        "text=garbage": [broken],
        "text=Igel": [posted],
        "status=failed&task=post_comment": [],
        "status=&task=&from=&to=&process=&text=": [posted, broken, prepared],
    }.items():
        assert listed(await ann.get(f"/tasks?{query}")) == [str(id_) for id_ in found], query
    assert "Nothing fits this filter." in words(await ann.get("/tasks?status=failed&task=post_comment"))
    assert 'value="failed" selected' in (await ann.get("/tasks?status=failed")).text


async def test_both_days_of_a_filter_count(ann: Browser, world: World) -> None:
    await mine(world, a_record(ago=1), a_record(ago=3 * 86_400))
    today = datetime.now(UTC)
    days = {"from": f"{today - timedelta(days=1):%Y-%m-%d}", "to": f"{today + timedelta(days=1):%Y-%m-%d}"}
    assert len(listed(await ann.get("/tasks", params=days))) == 1
    days["from"] = f"{today - timedelta(days=5):%Y-%m-%d}"
    assert len(listed(await ann.get("/tasks", params=days))) == 2


@pytest.mark.parametrize(
    "query",
    [
        "from=yesterday",
        "to=2026-02-31",
        "from=0001-01-01",
        "from=2026-02-02&to=2026-02-01",
        "process=watch",
        "item=7",
        "status=broken",
        "after=nonsense",
        "after=0-0",
        "after=zz-00000000000000000000000000000000",
        "text=%00",
        "task=%00",
        "view=other",
        "text=" + "x" * 300,
    ],
)
async def test_what_is_no_filter_is_refused(ann: Browser, query: str) -> None:
    assert (await ann.get(f"/tasks?{query}")).status_code == 422, query


async def test_pages_go_on_to_the_oldest_and_back(ann: Browser, world: World) -> None:
    ids = await mine(world, *(a_record(ago=1000 - number) for number in range(120)))
    page = await ann.get("/tasks?status=success")
    assert "120 records" in words(await ann.get("/tasks/total?status=success"))
    seen = listed(page)
    while ">Older<" in page.text:
        page = await ann.get(link(page, "Older"))
        seen += listed(page)
    assert seen == [str(id_) for id_ in reversed(ids)]
    assert 'value="success" selected' in page.text
    back = await ann.get(link(page, "Newer"))
    assert listed(back) == seen[50:100]
    assert listed(await ann.get(link(back, "Newer"))) == seen[:50]
    assert listed(await ann.get(link(page, "Newest"))) == seen[:50]


async def test_failures_of_a_kind_are_one_line_with_a_link_to_them(ann: Browser, world: World) -> None:
    alike = await mine(world, *(a_record("failed", ago=600 - number) for number in range(3)))
    other = a_record("failed", task_name="post_comment", fingerprint="f2", cause="Garbage", error_message="Garbage 7")
    await mine(world, other, a_record())
    page = await ann.get("/tasks?view=failures")
    assert "The site did not answer within … s" in words(page)
    assert "lib/monitoring/mymoment.py:fetch" in page.text
    assert "3 times" in words(page)
    assert "1 time" in words(page)
    found = await ann.get(link(page, "The site did not answer within … s"))
    assert listed(found) == [str(id_) for id_ in reversed(alike)]
    assert "only one kind of failure" in found.text


async def test_a_record_is_shown_whole(ann: Browser, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_UI_URL", "http://prefect.test")
    process = await world.process("watch")
    [comment] = await world.comments(process, 1, "prepared", article_content="Text")
    [parent] = await mine(world, a_record(task_name="generate_for_process", run_name=None, kind="stage", ago=90))
    run = uuid4()
    more: dict[str, Any] = {
        "process_id": process,
        "item_id": comment,
        "flow_run_id": run,
        "parent_id": parent,
        "attempt": 2,
    }
    first, second = await mine(world, a_record("failed", ago=80, **more), a_record("failed", ago=70, **more))
    [step] = await mine(world, a_record("failed", ago=69, task_name="read_back", kind="step", parent_id=second))
    page = await ann.get(f"/tasks/{second}")
    shown = words(page)
    for each in ("prepare “Der Rotpanda”", "Transient", "The site did not answer within 5 s", "Traceback", "120 ms"):
        assert each in shown, each
    assert "Show all of this kind" in shown
    for address in (
        f"http://prefect.test/runs/flow-run/{run}",
        f"/comments/{comment}",
        f"/processes/{process}",
        f"/tasks/{parent}",
        f"/tasks/{step}",
        f"/tasks/{first}",
        f"/tasks?item={comment}#records",
    ):
        assert f'href="{address}"' in page.text, address
    assert "&#34;title&#34;: &#34;Der Rotpanda&#34;" in page.text
    assert (await ann.get(f"/tasks/{uuid4()}")).status_code == 404
    assert (await ann.get("/tasks/7")).status_code == 422


async def test_what_comes_from_outside_is_text_wherever_it_is_shown(ann: Browser, world: World) -> None:
    texts: dict[str, Any] = {
        "run_name": HOSTILE,
        "error_message": HOSTILE,
        "error_type": HOSTILE,
        "error_traceback": HOSTILE,
    }
    more: dict[str, Any] = {"task_name": HOSTILE, "cause": HOSTILE, "place": HOSTILE, "parameters": {HOSTILE: HOSTILE}}
    [id_] = await mine(world, a_record("failed", **texts, **more))
    for path in ("/tasks", "/tasks?view=failures", f"/tasks/{id_}", f"/tasks?task={HOSTILE}", f"/tasks/retry?id={id_}"):
        page = await ann.get(path)
        assert page.status_code == 200, path
        assert "<script>alert" not in page.text, path
        assert "49 %" not in page.text
    attributes = re.findall(r"data-words='([^']*)'", (await ann.get("/tasks")).text)
    assert json.loads(unescape(attributes[0]))["names"][HOSTILE]


async def test_only_what_changed_is_sent_and_a_list_that_is_held_stays(ann: Browser, world: World) -> None:
    await mine(world, a_record())
    address, seen = live_of(await ann.get("/tasks?status=success"))
    assert "status=success" in address
    assert (await ann.get(f"{address}&cards={seen['cards']}&list={seen['list']}")).status_code == 204
    [new] = await mine(world, a_record())
    answer = await ann.get(f"{address}&cards={seen['cards']}&list={seen['list']}")
    assert 'id="tasks-cards"' in answer.text
    assert str(new) in answer.text
    assert "<html" not in answer.text
    held = await ann.get(f"{address}&cards={seen['cards']}&list={seen['list']}&hold=list")
    assert 'id="tasks-list"' not in held.text
    assert live_of(held)[1]["list"] == seen["list"]


@pytest.mark.parametrize(
    "path",
    [
        "/tasks",
        "/tasks?status=failed",
        "/tasks?text=rotpanda",
        "/tasks?text=nothing&hours=168",
        "/tasks?view=failures",
        "/tasks?view=failures&text=rotpanda",
        "/tasks/live",
        "/tasks/{id}",
    ],
)
async def test_a_page_takes_few_queries(house: House, ann: Browser, world: World, path: str) -> None:
    process = await world.process("watch")
    ids = await mine(world, *(a_record("failed", ago=900 - n, process_id=process) for n in range(60)))
    with queries(house.database) as seen:
        assert (await ann.get(path.format(id=ids[0]))).status_code == 200
    assert len(seen) <= 8, seen


async def test_nobody_sees_what_is_another_owners(house: House, world: World) -> None:
    mine_, nobodys = (
        await mine(world, a_record("failed")),
        await written(world, [a_record("failed", run_name="upkeep")]),
    )
    async with house.as_("carl", "operator") as carl, house.as_("bob", "admin") as bob:
        assert listed(await carl.get("/tasks")) == []
        for id_ in (*mine_, *nobodys):
            assert (await carl.get(f"/tasks/{id_}")).status_code == 404
            assert "0 records" in words(await carl.get(f"/tasks/retry?id={id_}"))
            assert (await bob.get(f"/tasks/{id_}")).status_code == 200
        assert len(listed(await bob.get("/tasks"))) == 2
        assert "Nothing failed." in words(await carl.get("/tasks?view=failures"))


async def test_pages_are_german_where_the_browser_asks(ann: Browser, world: World) -> None:
    [id_] = await mine(world, a_record("failed"))
    english = ("History", "How each", "Average", "Process ", "Took", "What went wrong", "Try again", "cannot be")
    for path in ("/tasks", "/tasks?view=failures", f"/tasks/{id_}", f"/tasks/retry?id={id_}"):
        page = await ann.get(path, headers={"Accept-Language": "de-CH"})
        assert page.status_code == 200
        assert not [each for each in english if each in words(page)], path
    assert "Text eines Artikels holen" in words(await ann.get("/tasks", headers={"Accept-Language": "de"}))


# Trying again


async def failures_of(world: World, number: int, sent: int = 0) -> tuple[list[UUID], list[UUID]]:
    """Comments that failed, and a record of each."""
    comments = await failed(world, number, "Timeout of the site", sent)
    return comments, await mine(
        world, *(a_record("failed", ago=500 - at, item_id=each) for at, each in enumerate(comments))
    )


async def test_a_retry_asks_first_and_says_the_numbers(ann: Browser, world: World) -> None:
    comments, _ = await failures_of(world, 4, sent=2)
    done_since = (await failures_of_done(world))[0]
    asked = await ann.get("/tasks/retry?which=all")
    said_ = words(asked)
    assert "5 records of failures." in said_
    assert "4 comments are tried again." in said_
    assert "2 of them may have reached the site" in said_
    assert "1 cannot be tried again" in said_
    assert "Try these 4 again" in said_
    assert {(await row(world, each)).status for each in comments} == {"failed"}
    done = await ann.post("/tasks/retry?which=all", confirmed=confirmed(asked))
    assert "4 comments are tried again. 2 of them were sent before" in await said(ann, done)
    assert {(await row(world, each)).status for each in comments} == {"generated"}
    assert (await row(world, done_since)).status == "posted"
    assert (await audited(world)).count("comment.retry") == 1


async def failures_of_done(world: World) -> list[UUID]:
    """A comment that was posted since, and a record of its failure."""
    process = await world.process("done", start=False)
    posted_at: dict[str, Any] = {"posted_at": datetime.now(UTC), "mymoment_comment_id": "9"}
    done = await world.comments(process, 1, "posted", comment_content="x", **posted_at)
    await mine(world, *(a_record("failed", item_id=each) for each in done))
    return done


async def test_a_count_that_changed_asks_again_and_does_nothing(ann: Browser, world: World) -> None:
    comments, _ = await failures_of(world, 3)
    asked = await ann.get("/tasks/retry?which=all&status=failed")
    await change(world, "UPDATE ai_comments SET post_sent_at = now() WHERE id = :id", id=comments[0])
    again = await ann.post("/tasks/retry?which=all&status=failed", confirmed=confirmed(asked))
    assert again.status_code == 409
    assert "It changed since you were asked." in words(again)
    assert {(await row(world, each)).status for each in comments} == {"failed"}
    done = await ann.post("/tasks/retry?which=all&status=failed", confirmed=confirmed(again))
    assert done.status_code == 303
    assert done.headers["Location"] == "/tasks?status=failed#records"
    assert {(await row(world, each)).status for each in comments} == {"generated"}
    assert (await ann.post("/tasks/retry?which=all", confirmed="")).status_code == 409


async def test_a_page_is_fetched_again_for_all_that_failed_over_it(ann: Browser, world: World) -> None:
    both = [await world.template("kind"), await world.template("curious")]
    process = await world.process("two voices", templates=both, start=False)
    gone: dict[str, Any] = {"failed_at": datetime.now(UTC), "error_message": "gone"}
    of_first, of_second = await world.comments(process, 1, "failed", failed_from="discovered", **gone)
    other = (await world.comments(process, 1, "failed", first=2, failed_from="prepared", **gone))[0]
    record = (await mine(world, a_record("failed", item_id=of_first)))[0]
    asked = await ann.get(f"/tasks/retry?id={record}")
    assert "2 comments are tried again." in words(asked)
    await ann.post(f"/tasks/retry?id={record}", confirmed=confirmed(asked))
    assert {(await row(world, each)).status for each in (of_first, of_second)} == {"discovered"}
    assert (await row(world, other)).status == "failed"


async def test_one_or_the_selected_are_tried_again(ann: Browser, world: World) -> None:
    comments, records = await failures_of(world, 3)
    one = await ann.get(f"/tasks/retry?id={records[0]}")
    done = await ann.post(f"/tasks/retry?id={records[0]}", confirmed=confirmed(one))
    assert done.headers["Location"] == f"/tasks/{records[0]}"
    assert [(await row(world, each)).status for each in comments] == ["generated", "failed", "failed"]
    query = "&".join(f"id={each}" for each in records)
    several = await ann.get(f"/tasks/retry?which=selected&{query}")
    assert "2 comments are tried again." in words(several)
    assert "1 cannot be tried again" in words(several)
    await ann.post(f"/tasks/retry?which=selected&{query}", confirmed=confirmed(several))
    assert {(await row(world, each)).status for each in comments} == {"generated"}
    nothing = await ann.get("/tasks/retry?which=selected")
    assert "Nothing is selected" in await said(ann, nothing)
    assert "There is nothing to try again." in words(await ann.get(f"/tasks/retry?id={records[0]}"))
    too_many = "&".join(f"id={uuid4()}" for _ in range(201))
    assert (await ann.get(f"/tasks/retry?{too_many}")).status_code == 422


async def test_what_waits_after_an_error_is_tried_at_once_unless_it_was_sent(ann: Browser, world: World) -> None:
    process = await world.process("later", start=False)
    comments = sorted(await world.comments(process, 2, "generated", comment_content="x", error_message="No answer"))
    await change(world, "UPDATE ai_comments SET next_attempt_at = now() + interval '1 hour'")
    await change(world, "UPDATE ai_comments SET post_sent_at = now() WHERE id = :id", id=comments[1])
    await mine(world, *(a_record("failed", item_id=each) for each in comments))
    asked = await ann.get("/tasks/retry?which=all")
    assert "1 comment is tried again." in words(asked)
    assert "1 cannot be tried again" in words(asked)
    await ann.post("/tasks/retry?which=all", confirmed=confirmed(asked))
    assert [(await row(world, each)).next_attempt_at is None for each in comments] == [True, False]


async def test_a_stage_that_failed_is_run_for_a_process_that_runs(ann: Browser, world: World) -> None:
    running, stopped = await world.process("watch"), await world.process("over", start=False)
    stage: dict[str, Any] = {"task_name": "prepare_process", "kind": "stage", "run_name": None}
    await mine(world, *(a_record("failed", process_id=each, **stage) for each in (running, running, stopped)))
    asked = await ann.get("/tasks/retry?which=all")
    assert "The stage “preparation” of “watch” runs now." in words(asked)
    assert "1 cannot be tried again" in words(asked)
    done = await ann.post("/tasks/retry?which=all", confirmed=confirmed(asked))
    assert "There is no Prefect server to run it" in await said(ann, done)


async def test_only_operators_try_again_and_only_what_is_theirs(house: House, world: World) -> None:
    comments, records = await failures_of(world, 1)
    async with (
        house.as_("vera", "viewer") as vera,
        house.as_("carl", "operator") as carl,
        house.as_("bob", "admin") as bob,
    ):
        assert (await vera.get("/tasks/retry?which=all")).status_code == 403
        assert (await vera.post("/tasks/retry?which=all", confirmed="1-0-0-0")).status_code == 403
        assert (await carl.post(f"/tasks/retry?id={records[0]}", confirmed="1-0-0-0")).status_code == 409
        assert (await row(world, comments[0])).status == "failed"
        without_token = await bob.client.post("/tasks/retry?which=all", data={"confirmed": "1-0-0-0"})
        assert without_token.status_code == 403
        assert "/tasks/retry" not in (await vera.get("/tasks")).text
        assert "/tasks/retry" in (await bob.get("/tasks")).text
        asked = await bob.get("/tasks/retry?which=all")
        assert (await bob.post("/tasks/retry?which=all", confirmed=confirmed(asked))).status_code == 303
    assert (await row(world, comments[0])).status == "generated"


async def test_a_person_who_is_only_a_viewer_selects_nothing(house: House, world: World) -> None:
    async with house.as_("operator", "operator") as owner:
        await mine(world, a_record("failed"))
        assert 'name="id"' in (await owner.get("/tasks")).text
        await change(world, "UPDATE accounts SET role = 'viewer'")
        page = (await owner.get("/tasks")).text
        assert 'name="id"' not in page
        assert listed(await owner.get("/tasks"))
