"""The console with 100 processes, 100,000 comments and 1,000,000 task records: what a page costs, how soon it shows."""

import asyncio
import contextlib
import re
import shutil
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from playwright.async_api import Browser, Page, async_playwright
from sqlalchemy import text

from benchmarks import task_records
from benchmarks.ground import console, console_ground
from lib.database import Database
from lib.settings import settings as read_settings

PROCESSES = 100
COMMENTS = 1000  # of each process
RECORDS = 1_000_000
ROUNDS = 20
WARM = 3
PASSWORD = "an admin of one bench run"  # noqa: S105 - of a database that is thrown away
ROOT_PAGES = ("/", "/review", "/failures", "/comments", "/compare", "/logins", "/providers", "/templates")
TASK_PAGES = (
    "/tasks",
    "/tasks?hours=168",
    "/tasks?status=failed",
    "/tasks?text=panda",
    "/tasks?view=failures",
    "/tasks/live",
)
IN_BROWSER = ("/", "/tasks", "/tasks?hours=168")
ADMIN_PAGES = ("/people", "/account", "/audit", "/alerts")


@dataclass(frozen=True)
class PageFigure:
    """One address: milliseconds of an answer, database round trips, milliseconds until Chromium has loaded it."""

    path: str
    p50: float
    p95: float
    queries: int = 0
    browser: float | None = None


def run() -> list[PageFigure]:
    """Raise RuntimeError for a page that does not answer as it should."""
    return asyncio.run(_run())


async def _run() -> list[PageFigure]:
    async with console_ground() as (database, port):
        setup = await _people(database)
        await _load(database)
        paths = await _paths(database)
        address = f"http://127.0.0.1:{port}"
        with console(port):
            cookies = await _sign_in(address, setup)
            figures = [await _measure(address, cookies, path) for path in paths]
            figures = await _in_browser(address, cookies, figures)
        return await _with_queries(address, cookies, figures, paths)


async def _people(database: Database) -> str:
    from lib.people.sign_in import ensure_first_admin_link  # noqa: PLC0415 - the environment comes first

    link = await ensure_first_admin_link(database)
    assert link is not None
    return link.path


LOAD = Path(__file__).with_suffix(".sql")


async def _load(database: Database) -> None:
    numbers = {"processes": PROCESSES, "comments": COMMENTS}
    async with database.session() as session:
        for statement in LOAD.read_text().split(";\n"):
            given = {name: value for name, value in numbers.items() if f":{name}" in statement}
            await session.execute(text(statement), given)
    await task_records.load(database, RECORDS)
    async with database.alone() as connection:
        await connection.execute(text("VACUUM ANALYZE"))


async def _paths(database: Database) -> list[str]:
    async with database.session() as session:
        process = await session.scalar(text("SELECT id FROM monitoring_processes ORDER BY id LIMIT 1"))
        waiting = await session.scalar(text("SELECT id FROM ai_comments WHERE status = 'generated' LIMIT 1"))
        posted = await session.scalar(text("SELECT id FROM ai_comments WHERE status = 'posted' LIMIT 1"))
        failed = await session.scalar(text("SELECT id FROM task_execution_logs WHERE status = 'failed' LIMIT 1"))
    of_one = (f"/processes/{process}", f"/processes/{process}/edit", f"/comments/{posted}", f"/review/{waiting}")
    of_tasks = (*TASK_PAGES, f"/tasks/{failed}")
    return [*ROOT_PAGES, *of_tasks, *of_one, *ADMIN_PAGES, "/metrics"]


async def _sign_in(address: str, setup: str) -> dict[str, str]:
    async with httpx.AsyncClient(base_url=address) as client:
        form = await client.get(setup)
        token = re.search(r'name="csrf_token" value="([^"]+)"', form.text)
        assert token is not None
        fields = {"csrf_token": token[1], "name": "operator", "password": PASSWORD, "repeated": PASSWORD}
        answer = await client.post(setup, data=fields, headers={"Origin": address})
        assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
        return dict(client.cookies)


async def _measure(address: str, cookies: dict[str, str], path: str) -> PageFigure:
    async with httpx.AsyncClient(base_url=address, cookies=cookies, timeout=30) as client:
        times = []
        for _ in range(WARM + ROUNDS):
            began = time.perf_counter()
            answer = await client.get(path)
            times.append((time.perf_counter() - began) * 1000)
            if answer.status_code != httpx.codes.OK:
                raise RuntimeError(f"{path} answers {answer.status_code}")
    times = sorted(times[WARM:])
    return PageFigure(_plain(path), times[len(times) // 2], times[int(len(times) * 0.95)])


async def _with_queries(
    address: str, cookies: dict[str, str], figures: list[PageFigure], paths: list[str]
) -> list[PageFigure]:
    """Counted in an application of this process, where the database tells them."""
    from console.app import create_app  # noqa: PLC0415 - the environment comes first

    app = create_app(read_settings())
    transport = httpx.ASGITransport(app)
    counted = []
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=address, cookies=cookies, timeout=30) as client,
    ):
        database: Database = app.state.console.database
        for figure, path in zip(figures, paths, strict=True):
            before = database.figures().round_trips
            (await client.get(path)).raise_for_status()
            counted.append(replace(figure, queries=database.figures().round_trips - before))
    return counted


def _plain(path: str) -> str:
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "…", path)


async def _in_browser(address: str, cookies: dict[str, str], figures: list[PageFigure]) -> list[PageFigure]:
    """The median of three loads of some of them, in a browser that has seen the page before."""
    async with chromium() as browser:
        context = await browser.new_context()
        await context.add_cookies([{"name": name, "value": value, "url": address} for name, value in cookies.items()])
        page = await context.new_page()
        medians = {path: await _loaded_in(page, address + path) for path in IN_BROWSER}
    return [replace(figure, browser=medians.get(figure.path)) for figure in figures]


async def _loaded_in(page: Page, address: str) -> float:
    times = []
    for _ in range(4):
        await page.goto(address)
        times.append(float(await page.evaluate("performance.getEntriesByType('navigation')[0].duration")))
    return sorted(times[1:])[1]


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:

    path = shutil.which("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            await browser.close()


def report(figures: Sequence[PageFigure]) -> str:
    lines = [
        f"## The console with {PROCESSES} processes and {PROCESSES * COMMENTS:,} comments",
        "",
        "As an administrator, who sees everything. The last column: loaded in Chromium.",
        "",
        "| page | p50 ms | p95 ms | queries | browser ms |",
        "|---|---|---|---|---|",
    ]
    for each in figures:
        browser = "" if each.browser is None else f"{each.browser:.0f}"
        lines.append(f"| `{each.path}` | {each.p50:.0f} | {each.p95:.0f} | {each.queries} | {browser} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for each in run():
        print(each)
