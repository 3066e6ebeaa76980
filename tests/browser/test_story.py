"""The first morning of somebody who never opened a terminal: from the setup link to the comment on the site."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from lib.monitoring.guard import PREFIX
from playground.accounts import LLM_KEY, LLM_MODEL
from tests.browser.conftest import picture
from tests.playground.visitor import Visitor
from tests.up import Up, until

pytestmark = pytest.mark.timeout(300)

ACCOUNT = "ki-bot-3"
TAB = "101"


def saved(page: Page) -> None:
    expect(page.locator("#messages .flash.success").first).to_be_visible()


def test_an_administrator_comes_by_the_link(admin: Page) -> None:
    expect(admin.get_by_role("heading", name="Overview")).to_be_visible()


def test_the_link_works_once(admin: Page, up: Up) -> None:
    link = re.search(r"/setup/\S+", up.said)
    assert link is not None
    answer = admin.context.request.get(link[0])
    assert answer.status in (404, 410)


def test_a_wrong_password_of_a_login_is_said_beside_its_field_and_nothing_saved(admin: Page, up: Up) -> None:
    admin.goto("/logins/new")
    fill_login(admin, up, "not the password")
    admin.get_by_role("button", name="Save").click()
    expect(admin.locator(".field-error, .flash.error").first).to_be_visible()
    expect(admin.get_by_label("Username")).to_have_value(ACCOUNT)
    expect(admin.get_by_label("Password")).to_have_value("")
    admin.goto("/logins")
    expect(admin.get_by_text("school account")).to_have_count(0)


def fill_login(page: Page, up: Up, password: str) -> None:
    page.get_by_label("Name", exact=True).fill("school account")
    page.get_by_label("Address of the site").fill(f"http://127.0.0.1:{up.playground}")
    page.get_by_label("Username").fill(ACCOUNT)
    page.get_by_label("Password").fill(password)


def test_a_login_is_added_and_tested(admin: Page, up: Up) -> None:
    admin.goto("/logins/new")
    fill_login(admin, up, f"demo-{ACCOUNT}")
    admin.get_by_role("button", name="Save").click()
    saved(admin)
    picture(admin, "logins")


def test_a_provider_is_added_and_tested(admin: Page, up: Up) -> None:
    admin.goto("/providers/new")
    admin.get_by_label("Name", exact=True).fill("our model")
    admin.get_by_label("Base URL").fill(f"http://127.0.0.1:{up.playground}/llm/v1")
    admin.get_by_role("textbox", name="Model", exact=True).fill(LLM_MODEL)
    admin.get_by_label("API key").fill(LLM_KEY)
    admin.get_by_role("button", name="Save").click()
    saved(admin)
    assert LLM_KEY not in admin.content()


def test_a_template_is_written_and_shown_on_a_real_article(admin: Page) -> None:
    admin.goto("/templates/new")
    admin.get_by_label("Name", exact=True).fill("encouraging")
    admin.get_by_label("System prompt").fill("You answer children kindly.")
    admin.get_by_label("User prompt").fill("Answer the text “{article_title}”: {article_content}")
    admin.get_by_role("button", name="Save").click()
    saved(admin)
    picture(admin, "template")


def test_a_template_with_an_unknown_placeholder_is_refused_by_name(admin: Page) -> None:
    admin.goto("/templates/new")
    admin.get_by_label("Name", exact=True).fill("mistaken")
    admin.get_by_label("User prompt").fill("Answer {article_titel}")
    admin.get_by_role("button", name="Save").click()
    expect(admin.locator(".field-error", has_text="article_titel")).to_be_visible()
    expect(admin.get_by_label("User prompt")).to_have_value("Answer {article_titel}")


def test_a_process_is_made_with_the_sites_own_tabs(admin: Page) -> None:
    admin.goto("/processes/new")
    admin.get_by_label("Name", exact=True).fill("morning class")
    admin.get_by_label(re.compile("^school account")).check()
    admin.get_by_label("encouraging").check()
    provider = admin.locator("select[name=provider]")
    provider.select_option(provider.locator("option", has_text="our model").get_attribute("value"))
    tab = admin.locator("select[name=tab]")
    expect(tab).to_be_visible()  # read live with the login that was chosen
    tab.select_option(TAB)
    admin.get_by_label("New articles a look").fill("2")
    picture(admin, "process-form")
    admin.get_by_role("button", name="Make the process").click()
    saved(admin)
    expect(admin.locator("main")).to_contain_text("It only writes drafts")


def test_it_is_started_and_drafts_what_a_person_has_to_approve(admin: Page) -> None:
    admin.get_by_role("button", name="Start").click()
    saved(admin)
    expect(admin.locator("main")).to_contain_text("running")
    admin.get_by_role("button", name=re.compile("Run now.*Discovery", re.IGNORECASE | re.DOTALL)).click()
    assert until(lambda: waiting(admin) > 0, 90), admin.inner_text("main")
    picture(admin, "process")


def waiting(page: Page) -> int:
    """How many comments of our process wait for a decision; leaves the page at the queue of these."""
    page.goto("/review")
    page.get_by_label("Process").select_option(label="morning class")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url(re.compile("process="))
    return page.locator("input[name=choice]").count()


def test_the_comment_is_read_beside_its_article_edited_and_approved(admin: Page, up: Up) -> None:
    assert waiting(admin) > 0
    admin.locator("a[href^='/review/']").first.click()
    admin.wait_for_url(re.compile("/review/.{36}"))
    expect(admin.locator("main")).to_contain_text(PREFIX)
    picture(admin, "review")
    address = admin.url.split("?")[0]
    text = "Das hast du lebendig erzählt. Besonders der Anfang hat mir gefallen, schreib gern weiter!"
    admin.keyboard.press("e")
    admin.locator("textarea[name=text]").fill(text)
    admin.get_by_role("button", name="Save and approve").click()
    saved(admin)
    comment = "/comments/" + address.rsplit("/", 1)[1]
    admin.goto(comment)
    assert until(lambda: admin.goto(comment) is not None and "posted" in admin.inner_text("main"), 90)
    picture(admin, "comment")
    article = re.search(r"/article/([0-9]+)", admin.content())
    assert article is not None
    with Visitor(f"http://127.0.0.1:{up.playground}") as visitor:
        visitor.log_in("lehrerin")
        there = [each for each in visitor.comments(int(article[1])) if text in each]
    assert len(there) == 1
    assert there[0].startswith(PREFIX)


def test_its_history_says_who_did_what(admin: Page) -> None:
    shown = admin.inner_text("main")
    for each in ("operator", "edited", "approved", "posted"):
        assert each in shown.lower(), each


def test_a_comment_is_rejected_by_keyboard(admin: Page) -> None:
    assert until(lambda: waiting(admin) > 0, 60)
    admin.locator("a[href^='/review/']").first.click()
    admin.wait_for_url(re.compile("/review/.{36}"))
    comment = admin.url.split("?")[0].rsplit("/", 1)[1]
    admin.keyboard.press("r")
    saved(admin)
    admin.goto(f"/comments/{comment}")
    expect(admin.locator("main")).to_contain_text("rejected")


PAGES = (
    "/",
    "/processes/new",
    "/review",
    "/comments",
    "/failures",
    "/tasks",
    "/tasks?view=failures",
    "/logins",
    "/logins/new",
    "/providers",
    "/providers/new",
    "/templates",
    "/templates/new",
    "/compare",
    "/people",
    "/account",
    "/audit",
    "/alerts",
    "/docs",
)


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_read_aloud_well_and_fits_a_telephone(admin: Page, path: str) -> None:
    admin.goto(path)
    judged(admin)
    admin.set_viewport_size({"width": 360, "height": 740})
    try:
        assert admin.evaluate("document.documentElement.scrollWidth") <= 360
        judged(admin)
    finally:
        admin.set_viewport_size({"width": 1280, "height": 900})


@pytest.mark.parametrize("kind", ["processes", "comments", "review", "tasks"])
def test_the_page_of_one_thing_too(admin: Page, kind: str) -> None:
    lists = {"processes": "/", "comments": "/comments", "review": "/review?approval=rejected", "tasks": "/tasks"}
    admin.goto(lists[kind])
    links = admin.locator(f"main a[href^='/{kind}/']").all()
    addresses = [link.get_attribute("href") or "" for link in links]
    one = next((each for each in addresses if re.search(r"/[0-9a-f-]{36}", each)), None)
    assert one is not None, addresses
    test_a_page_is_read_aloud_well_and_fits_a_telephone(admin, one)


def judged(page: Page) -> None:
    """Axe finds nothing that is serious."""
    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert serious == [], [(each["id"], [node["html"] for node in each["nodes"]][:3]) for each in serious]


def test_a_german_browser_is_answered_in_german(admin: Page) -> None:
    answer = admin.context.request.get("/failures", headers={"Accept-Language": "de-CH,de;q=0.9"})
    assert "Fehler" in answer.text()
    assert 'lang="de"' in answer.text()


def test_everything_is_stopped_at_once(admin: Page) -> None:
    admin.goto("/")
    picture(admin, "overview")
    admin.get_by_role("link", name="Stop everything").click()
    admin.get_by_role("button", name="Stop everything now").click()
    saved(admin)
    admin.goto("/")
    expect(admin.locator(".badge", has_text="running")).to_have_count(0)
