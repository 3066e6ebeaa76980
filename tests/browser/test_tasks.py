"""The tasks in a real browser: what happens shows by itself, waits while paused, and survives a cut connection."""

import re
import time
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from deployments.demo import ENGLISH_CLASS
from tests.browser.conftest import PATIENCE, picture
from tests.browser.test_story import judged
from tests.up import Up, until

pytestmark = pytest.mark.timeout(300)

BACK_WITHIN = 3000  # milliseconds, as people are promised
# The page itself looks at the clock: when it is told that the network is there, and when the feed goes on.
LOOK_AT_THE_CLOCK = """() => {
  const state = document.getElementById("feed-state");
  window.addEventListener("online", () => { window.toldAt = performance.now(); });
  new MutationObserver(() => {
    if (state.dataset.state === "connected") window.backAt = performance.now();
  }).observe(state, { attributes: true });
}"""


@pytest.fixture(scope="module")
def demo(admin: Page) -> str:
    """The id of the process that `up --playground` runs."""
    admin.goto("/")
    admin.get_by_role("link", name="demo").first.click()
    admin.wait_for_url(re.compile("/processes/.{36}"))
    return admin.url.split("?")[0].rsplit("/", 1)[1]


@pytest.fixture
def watcher(admin: Page) -> Iterator[Page]:
    """Another window of the same person, whose scripts may complain of a connection that is cut."""
    admin.goto("about:blank")  # the same cut is not for that one
    page = admin.context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto("/tasks")
    expect(page.locator("#feed-state")).to_have_text("live")
    yield page
    page.close()


def run_now(page: Page, demo: str, stage: str = "discovery") -> None:
    """As its button does."""
    token = page.locator("input[name=csrf_token]").first.get_attribute("value") or ""
    done = page.context.request.post(f"/processes/{demo}/run/{stage}", form={"csrf_token": token})
    assert done.ok, done.text()


def ended(page: Page) -> list[str]:
    """The newest records of what is over, as the history has them."""
    found = page.context.request.get("/api/v1/monitoring/history?page_size=100").json()["items"]
    return [each["id"] for each in found if each["status"] in ("success", "failed")]


def shown(page: Page) -> set[str]:
    """The records that the feed names."""
    addresses = page.eval_on_selector_all("#feed-lines a", "links => links.map(each => each.getAttribute('href'))")
    return {each.removeprefix("/tasks/") for each in addresses if each}


def is_complete(page: Page, before: set[str]) -> bool:
    """Whether something ended since, and the feed has all of that."""
    new = set(ended(page)) - before
    return bool(new) and new <= shown(page)


def test_what_happens_shows_by_itself(admin: Page, demo: str) -> None:
    admin.goto("/tasks")
    expect(admin.locator("#feed-state")).to_have_text("live")
    before = set(ended(admin))
    run_now(admin, demo)
    assert until(lambda: is_complete(admin, before), 60), admin.inner_text("#feed")
    expect(admin.locator(".task-card", has_text="look at index")).to_be_visible()
    expect(admin.locator("#tasks-list tbody tr", has_text="look at tab").first).to_be_visible()
    picture(admin, "tasks")
    judged(admin)


def test_the_feed_waits_while_paused_and_counts(admin: Page, demo: str) -> None:
    admin.goto("/tasks")
    expect(admin.locator("#feed-state")).to_have_text("live")
    pause = admin.locator("#feed-pause")
    pause.click()
    lines = admin.locator("#feed-lines li").count()
    before = set(ended(admin))
    run_now(admin, demo)
    expect(pause).to_have_text(re.compile(r"Go on \([1-9][0-9]*\)"), timeout=60_000)
    assert admin.locator("#feed-lines li").count() == lines
    pause.click()
    expect(pause).to_have_text("Pause")
    assert until(lambda: is_complete(admin, before), 60), admin.inner_text("#feed")


def test_a_list_that_somebody_selects_from_stays(admin: Page, demo: str, up: Up) -> None:
    fail(admin, demo, up)
    admin.goto("/tasks?status=failed")
    box = admin.locator("#tasks-list input[type=checkbox]").first
    box.focus()
    admin.keyboard.press("Space")
    run_now(admin, demo)
    time.sleep(2)  # time enough for a fetch
    expect(box).to_be_checked()
    box.uncheck()
    box.blur()
    held: list[Route] = []
    admin.route("**/tasks/live*", lambda route: held.append(route), times=1)  # noqa: PLW0108 - Playwright marks what it is given
    with admin.expect_request("**/tasks/live*", timeout=PATIENCE):
        run_now(admin, demo)
    box.check()
    with admin.expect_request(lambda sent: "hold=list" in sent.url):
        held[0].fulfill(content_type="text/html", body='<div id="tasks-list" hx-swap-oob="innerHTML"></div>')
    expect(box).to_be_checked()
    admin.get_by_role("button", name="Try the selected again").click()
    admin.wait_for_url(re.compile("/tasks/retry"))
    expect(admin.locator("main")).to_contain_text("1 record of a failure.")
    judged(admin)


def fail(page: Page, demo: str, up: Up) -> None:
    """Let a model call fail, and wait until its record says so."""
    control = f"http://127.0.0.1:{up.playground}/control"
    fault = {"kind": "status", "route": "llm", "status": 400, "times": None}
    httpx.post(f"{control}/faults", json=fault).raise_for_status()
    httpx.post(f"{control}/articles", json={"tab": ENGLISH_CLASS, "count": 1}).raise_for_status()
    try:

        def has_failed() -> bool:
            for stage in ("discovery", "preparation", "generation"):
                run_now(page, demo, stage)
            address = "/api/v1/monitoring/history?status=failed&task_name=generate_comment"
            return until(lambda: bool(page.context.request.get(address).json()["items"]), 15)

        assert until(has_failed, 90)
    finally:
        httpx.delete(f"{control}/faults").raise_for_status()


def test_a_failed_task_is_shown_with_its_cause(admin: Page) -> None:
    admin.goto("/tasks?status=failed&task=generate_comment")
    admin.locator("#tasks-list tbody a[href^='/tasks/']").first.click()
    admin.wait_for_url(re.compile("/tasks/.{36}"))
    main = admin.locator("main")
    expect(main).to_contain_text("What went wrong")
    expect(main).to_contain_text("400")
    expect(admin.get_by_role("link", name="See the run in Prefect")).to_be_visible()
    expect(admin.get_by_role("link", name="To the process")).to_be_visible()
    picture(admin, "task")
    judged(admin)


def test_failures_of_a_kind_lead_to_their_records(admin: Page) -> None:
    admin.goto("/tasks?view=failures")
    admin.locator("#tasks-list .cause a").first.click()
    admin.wait_for_url(re.compile("fingerprint="))
    expect(admin.locator("#tasks-list tbody tr").first).to_be_visible()


def test_a_connection_that_was_cut_is_made_again_within_three_seconds(watcher: Page, demo: str) -> None:
    before = set(ended(watcher))
    watcher.evaluate(LOOK_AT_THE_CLOCK)
    watcher.context.set_offline(True)
    try:
        expect(watcher.locator("#feed-state")).to_contain_text("connection is lost")
        run_now(watcher, demo)
        assert until(lambda: bool(set(ended(watcher)) - before), 60)
    finally:
        watcher.context.set_offline(False)
    expect(watcher.locator("#feed-state")).to_have_text("live")
    assert watcher.evaluate("window.backAt - window.toldAt") < BACK_WITHIN
    assert until(lambda: is_complete(watcher, before), 30), watcher.inner_text("#feed")


def test_a_console_that_dies_is_followed_again_and_nothing_is_missed(watcher: Page, demo: str, up: Up) -> None:
    before = set(ended(watcher))
    run_now(watcher, demo)
    up.child("console").kill()
    expect(watcher.locator("#feed-state")).to_contain_text("connection is lost")
    expect(watcher.locator("#feed-state")).to_have_text("live", timeout=60_000)
    assert until(lambda: is_complete(watcher, before), 60), watcher.inner_text("#feed")
    names = watcher.eval_on_selector_all(
        "#feed-lines li", "lines => lines.map(each => each.innerText + each.innerHTML)"
    )
    assert len(names) == len(set(names)), "an event twice"
