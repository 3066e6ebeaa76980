"""What `pressroom up` starts, and the environment of each."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
from pydantic import SecretStr

from deployments.children import Program
from deployments.ports import HOST
from lib import postgres
from lib.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
_PREFECT_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"

# So that another `pressroom deploy` tells Prefect the same address of the console.
_CONSOLE_ADDRESS = ("console_host", "console_port", "console_tls_certificate", "alert_relay_url")

# For `--playground`, unless set otherwise: a tick is soon, a wait is short, and the site is on this machine.
PLAYGROUND_SETTINGS = {
    "stage_interval": 15.0,
    "post_interval": 2.0,
    "allow_private_addresses": True,
    "quiet_min": 10.0,
    "retry_base": 5.0,
}

# Measured; what is set in the environment outranks it.
CLIENT_TUNING = {
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # a forgotten API URL fails at once instead of starting a server
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
    "PREFECT_WORKER_QUERY_SECONDS": "0.75",
    "PREFECT_WORKER_PREFETCH_SECONDS": "1",  # the next poll is sooner: a run is there when its time comes
    "PREFECT_WORKER_HEARTBEAT_SECONDS": "10",
    "PREFECT_LOGGING_COLORS": "false",
    "PREFECT_CLI_PROMPT": "false",
    "DO_NOT_TRACK": "1",
    # Prefect lists all time zones whenever it reads a schedule: of the package that is one file, of the system 1,800.
    "PYTHONTZPATH": "",
}
SERVER_TUNING = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_READ_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    # In memory, a restart of the server would leak slots for good.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P2D",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # The scheduler looks every minute: ten minutes ahead are enough, and less is late after a pause.
    "PREFECT_SERVER_SERVICES_SCHEDULER_MIN_SCHEDULED_TIME": "PT10M",
}


def with_playground(settings: Settings) -> Settings:
    """The settings with those of the playground where nothing was set."""
    missing = {name: value for name, value in PLAYGROUND_SETTINGS.items() if name not in settings.model_fields_set}
    return settings.model_copy(update=missing)


def as_environment(settings: Settings) -> dict[str, str]:
    """Every setting that has a value, so that a child reads what its supervisor read."""
    found: dict[str, str] = {}
    for name, value in settings:
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
            found[_variable(name)] = plain
    return found


def _variable(name: str) -> str:
    return f"PRESSROOM_{name.upper()}"


@dataclass(frozen=True)
class Components:
    """The programs of one `pressroom up`. All but the playground need the settings to name the database."""

    settings: Settings
    prefect_api_url: str
    own_server: bool
    prefect_database_url: str | None = None

    @property
    def needs_prefect_database(self) -> bool:
        return self.own_server and _PREFECT_DATABASE not in os.environ

    def with_cluster(self, cluster: postgres.Cluster) -> "Components":
        """With our own PostgreSQL for each database that was not given."""
        missing = {} if self.settings.database_url else {"database_url": cluster.url("pressroom")}
        url = cluster.url("prefect") if self.needs_prefect_database else None
        return replace(self, settings=self.settings.model_copy(update=missing), prefect_database_url=url)

    def prefect(self) -> Program:
        port = self.settings.prefect_port
        environment = SERVER_TUNING | self._outside()
        if self.prefect_database_url is not None:
            environment[_PREFECT_DATABASE] = self.prefect_database_url
        arguments = ("-m", "prefect", "server", "start", "--host", HOST, "--port", str(port))
        ready = answering(f"{self.prefect_api_url}/health")
        return Program("prefect", arguments, environment, ROOT, ready, rank=1, ready_within=90, grace=2)

    def playground(self, llm: str) -> Program:
        port = self.settings.playground_port
        data = self.settings.data_dir / "playground"
        arguments = ("-m", "playground", "--port", str(port), "--data-dir", str(data), "--llm", llm)
        return Program(
            "playground", arguments, self._outside(), ROOT, answering(f"http://{HOST}:{port}/llm/v1/models"), rank=2
        )

    def console(self) -> Program:
        # Whoever its certificate names, it is the one on our own port that is asked.
        ready = answering(f"{self.settings.console_address}/healthz", verify=False)
        return Program("console", ("-m", "console"), self._inside(), ROOT, ready, rank=2)

    def worker(self) -> Program:
        file = self.settings.data_dir / "worker.ready"
        arguments = ("-m", "deployments.worker", "--ready-file", str(file))

        async def ready() -> bool:
            return file.exists()

        return Program(
            "worker", arguments, self._inside(), ROOT, ready, rank=3, ready_within=120, grace=5, ready_file=file
        )

    def client_environment(self) -> dict[str, str]:
        """What a Prefect client needs to talk to the server."""
        home = {"PREFECT_HOME": str(self.settings.data_dir / "prefect")} if self.own_server else {}
        return CLIENT_TUNING | os.environ | home | {"PREFECT_API_URL": self.prefect_api_url}

    def shared_environment(self, *, playground: bool) -> dict[str, str]:
        """By which another command works on what runs here."""
        names = ["database_url", *_CONSOLE_ADDRESS, *(PLAYGROUND_SETTINGS if playground else ())]
        everything = as_environment(self.settings)
        ours = {variable: everything[variable] for name in names if (variable := _variable(name)) in everything}
        return ours | {"PREFECT_API_URL": self.prefect_api_url}

    def _outside(self) -> dict[str, str]:
        """For what has no business with our secrets."""
        return {name: value for name, value in self._base().items() if not name.startswith("PRESSROOM_")}

    def _inside(self) -> dict[str, str]:
        return self._base() | as_environment(self.settings)

    def _base(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        return self.client_environment() | {"PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def answering(url: str, *, verify: bool = True) -> Callable[[], Awaitable[bool]]:
    """Whether the address answers with anything but an error of its own."""

    async def ask() -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=5, verify=verify) as client:
                return (await client.get(url)).status_code < httpx.codes.INTERNAL_SERVER_ERROR
        except httpx.HTTPError:
            return False

    return ask
