"""A real PostgreSQL for the whole session, its data in memory, and a database of its own for every test."""

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from sqlalchemy import text

from lib import migrate, postgres, units, vault
from lib.database import Database
from lib.settings import Settings
from lib.settings import settings as read_settings
from lib.taskwatch import recorder
from playground.config import Config
from playground.serve import Running, serving
from tests.world import World

os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
TEMPLATE = "pressroom_template"


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """A command sets the environment and the log of its process, which in a test is ours."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    memory = Path("/dev/shm")  # noqa: S108 - a file system in memory where there is one
    place = Path(tempfile.mkdtemp(prefix="pressroom-test-", dir=memory if memory.is_dir() else None))
    place.chmod(0o755)
    with asyncio.Runner() as runner:
        started = runner.run(postgres.start(place / "cluster", durable=False, max_connections=200))
        try:
            runner.run(_make_template(started))
            yield started
        finally:
            runner.run(postgres.stop(started))
            shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
async def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[postgres.Cluster]:
    """A server with Pressroom's database `pressroom`, for one test to stop and start."""
    place = tmp_path_factory.mktemp("own")
    for part in (place, *place.parents[:2]):
        part.chmod(0o755)
    started = await postgres.start(place / "cluster", durable=False)
    try:
        await postgres.create_database(started, "pressroom")
        async with Database(started.url("pressroom"), pool_size=1) as database:
            await migrate.upgrade(database)
        yield started
    finally:
        await postgres.stop(started)  # also one that was started since


async def _make_template(cluster: postgres.Cluster) -> None:
    await postgres.create_database(cluster, TEMPLATE)
    async with Database(cluster.url(TEMPLATE)) as database:
        await migrate.upgrade(database)


async def run_outside(cluster: postgres.Cluster, statement: str) -> None:
    """Run a statement that no transaction may hold, such as CREATE DATABASE."""
    async with Database(cluster.url("postgres"), pool_size=1) as database, database.alone() as connection:
        await connection.execute(text(statement))


@pytest.fixture
def database_url(cluster: postgres.Cluster) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    name = f"test_{uuid.uuid4().hex}"
    with asyncio.Runner() as runner:
        runner.run(run_outside(cluster, f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}'))
    yield cluster.url(name)
    with asyncio.Runner() as runner:
        runner.run(run_outside(cluster, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(database_url) as opened:
        yield opened


@pytest.fixture
def settings(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings for a test: its own database, loopback allowed, short waits; set in the environment too."""
    values = {
        "DATABASE_URL": database_url,
        "DATA_DIR": str(tmp_path),
        "ENCRYPTION_KEYS": vault.new_key(),
        "ALLOW_PRIVATE_ADDRESSES": "true",
        "SITE_REQUESTS_PER_SECOND": "1000",
        "SITE_BURST": "1000",
        "SITE_TIMEOUT": "5",
        "POST_INTERVAL": "0",
        "RETRY_BASE": "0.001",  # a tick is to find what failed due again, on a fast machine too
        "RETRY_MAX": "0.05",
        "UNKNOWN_WAIT": "0.05",
        "LLM_TIMEOUT": "5",
        "TASK_RECORDING": "false",
    }
    for name, value in values.items():
        monkeypatch.setenv(f"PRESSROOM_{name}", value)
    read_settings.cache_clear()
    yield read_settings()
    read_settings.cache_clear()


@pytest.fixture
def recording(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # noqa: ARG001 - sets its database
    """Every unit leaves a record in the test's database; `recorder.stop()` writes what is still on its way."""
    monkeypatch.setenv("PRESSROOM_TASK_RECORDING", "true")
    read_settings.cache_clear()
    recorder.stop()
    yield
    recorder.stop()
    units.observe_with(None)


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """Prefect's own server, for the tests that run flows."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=60):
        yield


@pytest.fixture
def playground() -> Iterator[Running]:
    """The outside world on a loopback port, everything in memory."""
    with serving(Config(articles=3, new_article_every=0)) as running:
        yield running


@pytest.fixture
async def world(settings: Settings, database: Database, playground: Running) -> World:
    return World(settings, database, playground.url)
