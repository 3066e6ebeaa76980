"""The product and a playground in processes of their own, so that a measurement shares no event loop with them."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from sqlalchemy import text

from lib import migrate, postgres, vault
from lib.database import Database
from lib.http import Limits
from lib.monitoring.mymoment import MyMoment
from lib.settings import settings as read_settings
from playground.accounts import BOTS

UP_WITHIN = 180.0
TRIALS = 20
TAB = "alle"
FAR_AWAY = "86400"  # no schedule of the product interferes
# What every contender gets: no politeness, and the site and the model may be on this machine.
EVERYBODY = {
    "PRESSROOM_ALLOW_PRIVATE_ADDRESSES": "true",
    "PRESSROOM_SITE_REQUESTS_PER_SECOND": "100000",
    "PRESSROOM_SITE_BURST": "100000",
    "PRESSROOM_POST_INTERVAL": "0",
}


@dataclass(frozen=True)
class Ground:
    """Addresses of what runs."""

    site: str
    database_url: str
    prefect_api_url: str


@contextlib.asynccontextmanager
async def console_ground() -> AsyncIterator[tuple[Database, int]]:
    """A migrated database of its own, and the environment of a console on it, at this port."""
    place = Path(tempfile.mkdtemp(prefix="pressroom-bench-"))
    place.chmod(0o755)  # noqa: ASYNC240
    try:
        cluster = await postgres.start(place / "cluster", durable=False)
        try:
            await postgres.create_database(cluster, "console")
            url, port = cluster.url("console"), free_port()
            os.environ |= {
                "PRESSROOM_DATABASE_URL": url,
                "PRESSROOM_DATA_DIR": str(place),
                "PRESSROOM_ENCRYPTION_KEYS": vault.new_key(),
                "PRESSROOM_CONSOLE_PORT": str(port),
            }
            read_settings.cache_clear()
            async with Database(url, pool_size=2) as database:
                await migrate.upgrade(database)
                yield database, port
        finally:
            await postgres.stop(cluster)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def console(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A console in a process of its own, when it answers."""
    with child([sys.executable, "-m", "console"], {}) as running:
        wait_until(lambda: httpx.get(f"http://127.0.0.1:{port}/healthz").is_success)
        yield running


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def ground(llm_seconds: float, page_seconds: float) -> Iterator[Ground]:
    """Start both, set them in this process's environment, and stop them in the end."""
    place = Path(tempfile.mkdtemp(prefix="pressroom-bench-"))
    place.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        site = stack.enter_context(_playground(llm_seconds))
        _slow_down(site, page_seconds)
        environment = stack.enter_context(_product(place))
        os.environ.update(environment)
        yield Ground(site, environment["PRESSROOM_DATABASE_URL"], environment["PREFECT_API_URL"])


@dataclass(frozen=True)
class Outside:
    """What is there before a contender: the outside world, and a fresh database that is as durable as the product's."""

    site: str
    """The playground's address; its control endpoint takes articles, faults and latencies."""
    database_url: str
    """Migrated."""
    cluster: postgres.Cluster
    place: Path
    """A folder of its own, 0755."""
    at_once: int
    """Model calls that a contender may have at the same time."""


@contextlib.contextmanager
def outside(llm_seconds: float, page_seconds: float, at_once: int = 20, *, preload: str = "") -> Iterator[Outside]:
    """Start it with the settings of every contender in this process's environment, and stop it in the end.

    `preload`: a library that PostgreSQL is to load, to look into it.
    Whatever server was started anew in the cluster's directory meanwhile is stopped too.
    """
    place, before = Path(tempfile.mkdtemp(prefix="pressroom-bench-")), dict(os.environ)
    place.chmod(0o755)
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, place, ignore_errors=True)
        stack.callback(_restore, before)
        runner = stack.enter_context(asyncio.Runner())
        cluster = runner.run(_cluster(place / "cluster", preload))
        stack.callback(lambda: runner.run(postgres.stop(cluster, timeout=30)))
        url = runner.run(_fresh(cluster, "pressroom"))
        site = stack.enter_context(_playground(llm_seconds))
        if page_seconds:
            _slow_down(site, page_seconds)
        httpx.delete(f"{site}/control/requests").raise_for_status()
        os.environ.update(EVERYBODY | {"PRESSROOM_DATABASE_URL": url, "PRESSROOM_DATA_DIR": str(place / "data")})
        os.environ["PRESSROOM_ENCRYPTION_KEYS"] = vault.new_key()
        read_settings.cache_clear()
        yield Outside(site, url, cluster, place, at_once)


def _restore(environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    read_settings.cache_clear()


async def _cluster(directory: Path, preload: str) -> postgres.Cluster:
    cluster = await postgres.start(directory)
    if not preload:
        return cluster
    async with Database(cluster.url("postgres"), pool_size=1) as database, database.alone() as connection:
        await connection.execute(text(f"ALTER SYSTEM SET shared_preload_libraries = '{preload}'"))
    await postgres.stop(cluster, timeout=30)
    return await postgres.start(directory)


async def _fresh(cluster: postgres.Cluster, name: str) -> str:
    await postgres.create_database(cluster, name)
    async with Database(cluster.url(name), pool_size=1) as database:
        await migrate.upgrade(database)
    return cluster.url(name)


@contextlib.contextmanager
def child(
    command: list[str], environment: dict[str, str], log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    with Path(log or os.devnull).open("wb") as out:
        process = subprocess.Popen(command, env=os.environ | environment, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)


@contextlib.contextmanager
def _playground(llm_seconds: float) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "playground", "--port", str(port), "--llm", "scripted"]
    with child([*command, "--llm-latency", str(llm_seconds), "--new-article-every", "0"], {}):
        url = f"http://127.0.0.1:{port}"
        wait_until(lambda: httpx.get(f"{url}/control/requests").is_success)
        yield url


@contextlib.contextmanager
def _product(place: Path) -> Iterator[dict[str, str]]:
    settings = {
        "PRESSROOM_DATA_DIR": str(place),
        "PRESSROOM_PREFECT_PORT": str(free_port()),
        "PRESSROOM_CONSOLE_PORT": str(free_port()),
        "PRESSROOM_STAGE_INTERVAL": FAR_AWAY,
    }
    with child([sys.executable, "-m", "deployments.up"], settings, place / "up.log"):
        record = place / "run.json"
        wait_until(lambda: "PREFECT_API_URL" in _environment(record))
        url = f"http://127.0.0.1:{settings['PRESSROOM_CONSOLE_PORT']}/health"
        wait_until(lambda: httpx.get(url).is_success)
        time.sleep(5)  # its own first ticks
        yield settings | _environment(record)


def _environment(record: Path) -> dict[str, str]:
    found: dict[str, str] = json.loads(record.read_text())["environment"] if record.exists() else {}
    return found


def _slow_down(site: str, seconds: float) -> None:
    """Let a page take so long in all, as a bare client sees it: what the site itself needs counts."""
    _add_latency(site, seconds)
    _add_latency(site, max(0.0, 2 * seconds - asyncio.run(_seconds_of_a_page(site))))


def _add_latency(site: str, seconds: float) -> None:
    httpx.delete(f"{site}/control/faults").raise_for_status()
    for route in ("index", "article", "comment", "login"):
        fault = {"route": route, "kind": "latency", "seconds": seconds, "times": None}
        httpx.post(f"{site}/control/faults", json=fault).raise_for_status()


async def _seconds_of_a_page(site: str) -> float:
    taken = []
    async with MyMoment(site, Limits(allow_private=True)) as client:
        await client.log_in(BOTS[-1].username, BOTS[-1].password)
        entry = (await client.index(TAB)).entries[0]
        for _ in range(TRIALS):
            began = time.perf_counter()
            await client.article(entry.article_id)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def wait_until(well: object) -> None:
    assert callable(well)
    deadline = time.monotonic() + UP_WITHIN
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if well():
                return
        time.sleep(0.2)
    raise TimeoutError(f"Nothing answered within {UP_WITHIN:g} s")
