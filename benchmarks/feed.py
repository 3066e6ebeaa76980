"""The live feed with 50 readers: how long it takes from a record's write to a reader."""

import asyncio
import json
import multiprocessing
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from playwright.async_api import Browser, Page
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.ground import console, console_ground
from benchmarks.pages import chromium
from lib import work
from lib.database import Database
from lib.people import members, own, sign_in
from lib.people.members import Doer
from lib.taskwatch.store import writing
from lib.taskwatch.store.writing import Beat

READERS = 50
EACH = 10  # connections of one person, who may have 20
A_SECOND = 100
SECONDS = 20
GOAL_MS = 100
WARM = 2.0  # seconds that do not count
PATIENCE = 60.0
PASSWORD = "an admin of one bench run"  # noqa: S105 - of a database that is thrown away
BEAT = Beat(uuid4(), "bench", os.getpid())
# When each line of the feed was painted, by its record: the first task after the next frame.
WATCH = """() => {
  window.painted = {};
  new MutationObserver((changes) => {
    const ids = changes.flatMap((each) => [...each.addedNodes])
      .map((line) => line.querySelector("a")?.getAttribute("href")?.split("/").pop());
    requestAnimationFrame(() => setTimeout(() => { for (const id of ids) window.painted[id] ??= Date.now() / 1000; }));
  }).observe(document.getElementById("feed-lines"), { childList: true });
}"""


@dataclass(frozen=True)
class FeedFigure:
    """Milliseconds until an event is there, over all readers. `cpu`: seconds of the console's, a second."""

    name: str
    p50: float
    p95: float
    p99: float
    most: float
    events: int
    received: int
    cpu: float


def run() -> list[FeedFigure]:
    """Raise RuntimeError for a reader that missed something."""
    return asyncio.run(_run())


async def _run() -> list[FeedFigure]:
    async with console_ground() as (database, port):
        tokens = [await _token(database, f"reader {number}") for number in range(READERS // EACH)]
        link = (await members.invite(database, Doer(None, "bench"), "watcher", "admin")).path
        with console(port) as running:
            async with chromium() as browser:
                page = await _watching(browser, f"http://127.0.0.1:{port}", link)
                return await _measure(database, port, tokens, running.pid, page)


async def _watching(browser: Browser, address: str, link: str) -> Page:
    """The page of the tasks, when it follows the feed."""
    page = await (await browser.new_context(locale="en")).new_page()
    await page.goto(address + link)
    await page.get_by_label("Password", exact=True).fill(PASSWORD)
    await page.get_by_label("The same password again").fill(PASSWORD)
    await page.get_by_role("button", name="Save and sign in").click()
    await page.wait_for_url(address + "/")
    await page.goto(address + "/tasks")
    await page.wait_for_selector("#feed-state[data-state=connected]")
    await page.evaluate(WATCH)
    return page


async def _token(database: Database, name: str) -> str:
    doer = Doer(None, "bench")
    made = await members.invite(database, doer, name, "admin")
    await sign_in.use_link(database, made.path.removeprefix("/setup/"), PASSWORD, None, "::1")
    person = await members.find(database, name)
    return (
        await own.make_token(database, doer, person.id, "bench", ("admin",), 1, frozenset(("read", "write", "admin")))
    ).text


async def _measure(database: Database, port: int, tokens: list[str], pid: int, page: Page) -> list[FeedFigure]:
    """The readers are a process of their own, so that the writer does not wait for them; a browser is one more."""
    events, ready = A_SECOND * SECONDS, multiprocessing.Event()
    here, there = multiprocessing.Pipe(duplex=False)
    readers = multiprocessing.Process(target=_read, args=(port, tokens, events, ready, there), daemon=True)
    readers.start()
    if not await asyncio.to_thread(ready.wait, PATIENCE):
        raise RuntimeError("The readers are not connected")
    before = _cpu(pid)
    began = time.monotonic()
    written, took, ids = await _write(database, events)
    cpu = (_cpu(pid) - before) / (time.monotonic() - began)
    if not await asyncio.to_thread(here.poll, PATIENCE):
        raise RuntimeError("The readers have not got everything")
    received: list[tuple[int, float, float]] | str = here.recv()
    if isinstance(received, str):
        raise RuntimeError(received)  # noqa: TRY004 - what a reader ended with
    readers.join(PATIENCE)
    first = min(written.values()) + WARM
    painted: dict[str, float] = await page.evaluate("window.painted")
    missing = [seq for seq, id_ in ids.items() if id_ not in painted]
    if missing:
        raise RuntimeError(f"The page has not shown {len(missing)} events")
    shown = [painted[id_] - written[seq] for seq, id_ in ids.items() if written[seq] >= first]
    counted = [(there - written[seq], there - at) for seq, there, at in received if written[seq] >= first]
    return [
        _figure("the write alone", took, events, len(received), cpu),
        _figure("from the start of its write", [each for each, _ in counted], events, len(received), cpu),
        _figure("from its timestamp", [each for _, each in counted], events, len(received), cpu),
        _figure("from the start of its write until Chromium has painted it", shown, events, len(shown), cpu),
    ]


def _figure(name: str, seconds: list[float], events: int, received: int, cpu: float) -> FeedFigure:
    times = sorted(each * 1000 for each in seconds)
    p50, p95, p99 = (times[min(len(times) - 1, int(len(times) * share))] for share in (0.5, 0.95, 0.99))
    return FeedFigure(name, p50, p95, p99, times[-1], events, received, cpu)


def _cpu(pid: int) -> float:
    """User and system seconds so far."""
    said = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(said[11]) + int(said[12])) / os.sysconf("SC_CLK_TCK")


async def _write(database: Database, events: int) -> tuple[dict[int, float], list[float], dict[int, str]]:
    """One event every so often, by the clock.

    Return when the write of each number began, what each took, and of which record each number is.
    """
    began, written, took, ids = time.time(), dict[int, float](), list[float](), dict[int, str]()
    for number in range(events):
        await asyncio.sleep(max(0.0, began + number / A_SECOND - time.time()))
        now = datetime.now(UTC)
        made: dict[str, Any] = {
            "id": work.new_id(),
            "created_at": now.isoformat(),
            "started_at": now.isoformat(),
            "task_name": "prepare_article",
            "run_name": f"prepare “Article {number}”",
            "kind": "item",
            "status": "running",
            "parameters": {"title": f"Article {number}", "login_id": str(uuid4())},
            "recorder_id": BEAT.recorder_id,
        }
        written[number + 1], ids[number + 1] = now.timestamp(), str(made["id"])
        async with database.alone() as connection:
            await writing.write(connection, [made], BEAT)
        took.append(time.time() - now.timestamp())
    return written, took, ids


def _read(port: int, tokens: list[str], events: int, ready: Any, pipe: Any) -> None:
    try:
        pipe.send(asyncio.run(_all_read(port, tokens, events, ready)))
    except Exception as error:  # noqa: BLE001 - it ends in the other process
        pipe.send(f"{type(error).__name__}: {error}")


async def _all_read(port: int, tokens: list[str], events: int, ready: Any) -> list[tuple[int, float, float]]:
    address = f"ws://127.0.0.1:{port}/api/v1/monitoring/ws"
    headers = [{"Authorization": f"Bearer {token}"} for token in tokens for _ in range(EACH)]
    connections = [await connect(address, additional_headers=each) for each in headers]
    for connection in connections:
        await connection.recv()
    ready.set()
    async with asyncio.timeout(SECONDS + PATIENCE):
        read = await asyncio.gather(*(_one_reads(each, events) for each in connections))
    for connection in connections:
        await connection.close()
    return [each for texts in read for each in _looked_at(texts, events)]


async def _one_reads(connection: ClientConnection, events: int) -> list[tuple[bytes, float]]:
    """What came, and when. It is looked at when everybody has everything."""
    texts: list[tuple[bytes, float]] = []
    number = 0
    while number < events:
        text = await connection.recv(decode=False)
        texts.append((text, time.time()))
        number += b'"task_started"' in text
    return texts


def _looked_at(texts: list[tuple[bytes, float]], events: int) -> list[tuple[int, float, float]]:
    """Number, when it was there, and its timestamp (Unix seconds) of each event."""
    told = [(json.loads(text), now) for text, now in texts]
    found = [(each["seq"], now, each["timestamp"]) for each, now in told if each["type"].startswith("task_")]
    if [seq for seq, _, _ in found] != list(range(1, events + 1)):
        raise RuntimeError("A reader missed something, or got it twice")
    return [(seq, now, datetime.fromisoformat(at).timestamp()) for seq, now, at in found]


def report(figures: list[FeedFigure]) -> str:
    lines = [
        "",
        f"## The live feed: {A_SECOND} events a second to {READERS} readers, for {SECONDS} s",
        "",
        f"Goal: p95 under {GOAL_MS} ms from the start of its write. The console takes {figures[0].cpu:.2f} of a core.",
        "",
        "| | p50 ms | p95 ms | p99 ms | max ms |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.name} | {each.p50:.0f} | {each.p95:.0f} | {each.p99:.0f} | {each.most:.0f} |" for each in figures
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for each in run():
        print(each)
