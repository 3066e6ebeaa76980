"""`pressroom up`: everything from one command, stopped by Ctrl-C. `python -m deployments.up [--playground]`."""

import argparse
import asyncio
import importlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import httpx
import psutil
from sqlalchemy.exc import SQLAlchemyError

from deployments import components, demo, instance, ports
from deployments.children import PostgresChild, Program, ProgramChild, StartError
from deployments.components import Components
from deployments.instance import AlreadyRunningError, Instance, ProcessMark
from deployments.ports import HOST, PortTakenError
from deployments.supervisor import Supervisor
from lib import migrate, postgres, vault
from lib.database import Database
from lib.errors import PressroomError
from lib.people.sign_in import ensure_first_admin_link
from lib.settings import Settings
from lib.settings import settings as read_settings

INTERRUPTED = 130
STOPPED_WITHIN = 9.5


async def up(settings: Settings, *, playground: bool, llm: str = "real") -> int:
    """Run until SIGINT or SIGTERM; the exit status. Call it in the main thread."""
    settings = settings.model_copy(update={"data_dir": settings.data_dir.expanduser().absolute()})
    try:
        with instance.locked(settings.data_dir):
            for name in await asyncio.to_thread(instance.end_leftovers, settings.data_dir):
                _say(name, "was left behind by an earlier run; ended")
            return await _Run(settings, playground=playground, llm=llm).until_stopped()
    except (AlreadyRunningError, PortTakenError, StartError, PressroomError) as error:
        print(f"pressroom: {error}", file=sys.stderr, flush=True)  # noqa: T201 - what a command says
        return 1


class _Run:
    def __init__(self, settings: Settings, *, playground: bool, llm: str) -> None:
        settings = components.with_playground(settings) if playground else settings
        own_server = "PREFECT_API_URL" not in os.environ
        url = os.environ.get("PREFECT_API_URL", f"http://{HOST}:{settings.prefect_port}/api")
        self._components = Components(settings, url, own_server)
        self._playground = playground
        self._llm = llm
        self._supervisor = Supervisor(_say, self._record)
        self._stop = asyncio.Event()
        self._began = time.monotonic()

    @property
    def _settings(self) -> Settings:
        return self._components.settings

    async def until_stopped(self) -> int:
        """Raises what kept it from starting, after everything was stopped."""
        ports.check(ports.needed(self._settings, own_server=self._components.own_server, playground=self._playground))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked_to_stop)
        starting = asyncio.create_task(self._start())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                await starting
            await stopping
        finally:
            self._stop.set()  # from here on a signal means: at once
            for task in (starting, stopping):
                task.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            await self._stop_all()
        return 0

    def _asked_to_stop(self) -> None:
        if not self._stop.is_set():
            _say("pressroom", "stops; once more stops it the hard way")
            self._stop.set()
            return
        self._supervisor.kill()
        instance.remove(self._settings.data_dir)
        os._exit(INTERRUPTED)

    async def _stop_all(self) -> None:
        try:
            async with asyncio.timeout(STOPPED_WITHIN):
                await self._supervisor.stop()
        except TimeoutError:
            self._supervisor.kill()
        instance.remove(self._settings.data_dir)
        _say("pressroom", "stopped")

    # What comes up at the same time, and what waits for what

    async def _start(self) -> None:
        self._ensure_keys()
        await _together(self._start_playground(), self._start_product())
        _say("pressroom", f"up after {time.monotonic() - self._began:.1f} s; Ctrl-C stops everything")

    async def _start_product(self) -> None:
        await self._start_postgres()
        os.environ.update(self._components.client_environment())  # before Prefect is imported below
        await _together(self._start_worker(), self._start_server())

    async def _start_server(self) -> None:
        importing = asyncio.to_thread(importlib.import_module, "deployments.apply")
        await _together(self._start_prefect(), self._prepare_database(), importing)
        await self._deploy()

    # One component each

    def _ensure_keys(self) -> None:
        if not vault.read_keys(self._settings):
            file = vault.write_keys(self._settings, [vault.new_key()])
            _say("keys", f"{'made':<28}{file}")

    async def _start_postgres(self) -> None:
        """Unless both databases are elsewhere."""
        needs = self._settings.database_url is None or self._components.needs_prefect_database
        if not needs:
            return
        child = PostgresChild(self._settings.data_dir / "postgres")
        await self._supervisor.start(child)
        for name in ("pressroom", "prefect"):
            await postgres.create_database(child.cluster, name)
        self._components = self._components.with_cluster(child.cluster)
        _say("postgres", f"{'PostgreSQL of our own':<28}{child.cluster.directory}")

    async def _prepare_database(self) -> None:
        await self._migrate()
        if self._playground:
            _say("demo", f"{'process “demo”':<28}{await demo.seed_demo(self._settings)}")
        await self._start_program(self._components.console(), "console", self._settings.console_address)
        await self._invite_first_admin()

    async def _invite_first_admin(self) -> None:
        """While there is none: a link, in place of the one that the start before this printed."""
        async with Database(self._settings.database_url or "", pool_size=1) as database:
            link = await ensure_first_admin_link(database)
        if link is not None:
            _say("console", f"{'set up the first admin at':<28}{self._settings.console_address}{link.path}")

    async def _migrate(self) -> None:
        try:
            async with Database(self._settings.database_url or "", pool_size=1) as database:
                await migrate.upgrade(database)
        except (OSError, SQLAlchemyError) as error:
            reason = str(error).splitlines()[0]
            raise StartError(f"the database of PRESSROOM_DATABASE_URL cannot be used: {reason}") from error

    async def _start_prefect(self) -> None:
        url = self._components.prefect_api_url
        if self._components.own_server:
            await self._start_program(self._components.prefect(), "Prefect's pages and API", url.removesuffix("/api"))
            return
        if not await components.answering(f"{url}/health")():
            raise StartError(f"no Prefect server answers at {url}, which PREFECT_API_URL names")
        _say("prefect", f"{'a server that was there':<28}{url}")

    async def _start_playground(self) -> None:
        if self._playground:
            address = f"http://{HOST}:{self._settings.playground_port}"
            await self._start_program(self._components.playground(self._llm), "a site and a model", address)

    async def _start_worker(self) -> None:
        await self._start_program(self._components.worker(), "runs the flows", f"work pool {self._settings.work_pool}")

    async def _start_program(self, program: Program, what: str, where: str) -> None:
        logs = self._settings.data_dir / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        await self._supervisor.start(ProgramChild(program, logs / f"{program.name}.log"))
        _say(program.name, f"{what:<28}{where}")

    async def _deploy(self) -> None:
        # Imported while the server started.
        from prefect.exceptions import PrefectException  # noqa: PLC0415

        from deployments import apply  # noqa: PLC0415

        try:
            changes = await apply.deploy(self._settings)
            await apply.start_stages()
        except (httpx.HTTPError, PrefectException) as error:
            raise StartError(f"the deployments could not be applied: {error}") from error
        outcomes = Counter(change.outcome for change in changes if change.kind == "deployment")
        said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items()))
        _say("deployments", f"{said:<28}every {self._settings.stage_interval:.0f} s; each stage runs once now")

    def _record(self) -> None:
        children = []
        for service in self._supervisor.services:
            with suppress(psutil.NoSuchProcess):
                if service.pid is not None:
                    children.append(ProcessMark.of(service.name, service.pid))
        me = ProcessMark.of("supervisor", os.getpid())
        used = ports.needed(self._settings, own_server=self._components.own_server, playground=self._playground)
        found = Instance(me, tuple(children), used, self._components.shared_environment(playground=self._playground))
        instance.write(self._settings.data_dir, found)


async def _together(*work: Coroutine[Any, Any, Any]) -> None:
    """All at once; the first failure cancels the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except BaseExceptionGroup as failures:
        failure: BaseException = failures
        while isinstance(failure, BaseExceptionGroup):
            failure = failure.exceptions[0]
        raise failure from None


def _say(name: str, sentence: str) -> None:
    print(f"{name:<13}{sentence}", flush=True)  # noqa: T201 - what a command says


def main() -> int:
    parser = argparse.ArgumentParser("python -m deployments.up", description="Start everything; Ctrl-C stops it.")
    parser.add_argument("--playground", action="store_true", help="with a local site and model, and a demo process")
    parser.add_argument("--llm", choices=("real", "scripted"), default="real", help="the playground's model")
    chosen = parser.parse_args()
    return asyncio.run(up(read_settings(), playground=chosen.playground, llm=chosen.llm))


if __name__ == "__main__":
    sys.exit(main())
