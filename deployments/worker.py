"""`python -m deployments.worker`: run the flows of the work pool in this process until SIGTERM."""

import argparse
import asyncio
import contextlib
import hashlib
import logging
import signal
import socket
import sys
import threading
from pathlib import Path

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.context import AsyncClientContext, SyncClientContext
from prefect.exceptions import ObjectNotFound

from deployments import definitions, tidying
from deployments.in_process import InProcessWorker
from lib import llm, log
from lib.garbage import spare_the_collector
from lib.monitoring.runtime import sharing_connections
from lib.settings import Settings
from lib.settings import settings as read_settings

FLOW_RUNS_AT_ONCE = 20
LAST_WORDS = 4.0  # seconds that cancelled runs have to end
LOOK_AGAIN = 0.3


def worker_name(settings: Settings) -> str:
    """The same after a restart, another on another machine or data directory."""
    digest = hashlib.sha256(str(settings.data_dir.absolute()).encode()).hexdigest()[:6]
    return f"pressroom-{socket.gethostname()}-{digest}"


async def pool_is_there(client: PrefectClient, pool: str) -> None:
    """Wait for the server, and for somebody to deploy to it."""
    while True:
        with contextlib.suppress(httpx.HTTPError, ObjectNotFound):
            await client.read_work_pool(pool)
            return
        await asyncio.sleep(LOOK_AGAIN)


async def serve(settings: Settings, stop: asyncio.Event, ready_file: Path | None) -> None:
    """Poll and run until `stop`; then cancel what runs, and give it a moment."""
    for each in definitions.load().deployments:
        definitions.load_flow(each.entrypoint)
    llm.load()
    spare_the_collector()
    worker = InProcessWorker(work_pool_name=settings.work_pool, name=worker_name(settings), limit=FLOW_RUNS_AT_ONCE)
    async with get_client() as client:
        waiting = asyncio.create_task(pool_is_there(client, settings.work_pool))
        if not await _unless(stop, waiting):
            return
        await _tidy_up(client, settings, worker.name)
    # The clients of all runs; each would open its own, and read the certificates of the world for it.
    with SyncClientContext.get_or_create():
        async with AsyncClientContext.get_or_create(), sharing_connections(settings):
            await _work(worker, stop, ready_file)


async def _work(worker: InProcessWorker, stop: asyncio.Event, ready_file: Path | None) -> None:
    working = asyncio.create_task(worker.start(printer=_say))
    polling = asyncio.create_task(worker.poll_when_asked())
    _tell(ready_file)
    try:
        if await _unless(stop, working):
            raise RuntimeError("the worker ended by itself")
    finally:
        polling.cancel()
        await _end(worker, working)


def _tell(ready_file: Path | None) -> None:
    if ready_file is not None:
        ready_file.touch()


async def _tidy_up(client: PrefectClient, settings: Settings, name: str) -> None:
    orphans = await tidying.orphans_of(client, settings.work_pool, name)
    let_go = await tidying.let_go(settings, orphans, name)
    await tidying.mark_crashed(client, orphans)
    skipped = await tidying.skip_late(client, settings.work_pool)
    _say(
        f"{len(orphans)} runs of a worker that is gone marked as crashed, {let_go} stages of theirs let go, "
        f"{skipped} late runs skipped"
    )


async def _unless(stop: asyncio.Event, work: asyncio.Task[None]) -> bool:
    """Await the work unless `stop` comes first, in which case it goes on; True when the work is done."""
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if work.done():
        work.result()
        return True
    return False


async def _end(worker: InProcessWorker, working: asyncio.Task[None]) -> None:
    try:
        async with asyncio.timeout(LAST_WORDS):
            with contextlib.suppress(httpx.HTTPError):
                await worker.cancel_all("Pressroom was stopped.")
            while worker.running:  # noqa: ASYNC110 - the runs end one by one
                await asyncio.sleep(0.05)
            working.cancel()
            await asyncio.wait({working})
    except TimeoutError:
        _say("some runs did not end in time")


def _say(sentence: str = "", **_: object) -> None:
    print(sentence, flush=True)  # noqa: T201 - the worker's log


def main() -> None:
    parser = argparse.ArgumentParser("python -m deployments.worker", description="Run the flows in this process.")
    parser.add_argument("--ready-file", type=Path, help="made when the worker begins to poll")
    ready_file: Path | None = parser.parse_args().ready_file
    log.configure()
    # Of a task run only what went wrong; that it is completed, its state says.
    logging.getLogger("prefect.task_runs").setLevel(logging.WARNING)
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    def ask_to_stop(*_: object) -> None:
        loop.call_soon_threadsafe(stop.set)

    # In the main thread the flow engine would put its own handler in the place of ours, and raise where it strikes.
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(serve(read_settings(), stop, ready_file))
        except BaseException as error:  # whatever ended the thread ends the process
            failures.append(error)
            raise

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask_to_stop)
    thread = threading.Thread(target=work, name="flows", daemon=True)
    thread.start()
    thread.join()
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
