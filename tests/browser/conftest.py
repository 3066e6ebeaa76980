"""Debian's Chromium before a real `pressroom up`."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.up import Up, running_up

PICTURES = Path(__file__).resolve().parents[2] / "build" / "pictures"
PATIENCE = 30_000  # milliseconds
PASSWORD = "a few words in a row"
# In a root's container it cannot make its sandbox; its own services have nothing to look for here.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with running_up(Up) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path, "Chromium is not installed; `make test` does it"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture(scope="module")
def page(browser: Browser, up: Up) -> Iterator[Page]:
    """One person's window, English and 1280 wide; what its scripts complain of fails the test."""
    context = browser.new_context(
        base_url=f"http://127.0.0.1:{up.console}", locale="en-GB", viewport={"width": 1280, "height": 900}
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    # A form that is refused is no complaint of a script.
    refused = "Failed to load resource"
    page.on(
        "console",
        lambda said: complaints.append(said.text) if said.type == "error" and refused not in said.text else None,
    )
    yield page
    context.close()
    assert complaints == []


@pytest.fixture(scope="module")
def admin(page: Page, up: Up) -> Page:
    """The first administrator, who came by the link that the terminal printed."""
    link = re.search(r"http://\S+/setup/\S+", up.said)
    assert link is not None, up.said
    page.goto(link[0])
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("The same password again").fill(PASSWORD)
    page.get_by_role("button", name="Save and sign in").click()
    page.wait_for_url("**/")
    return page


def picture(page: Page, name: str) -> None:
    """Keep what the page looks like now, in build/pictures/."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png", animations="disabled")
