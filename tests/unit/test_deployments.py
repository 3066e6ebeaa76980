"""What is deployed and how it is put on, without starting any of it."""

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.client.schemas.objects import FlowRun
from prefect.settings import Settings as PrefectSettings
from prefect.states import Pending, Scheduled
from prefect.workers.process import ProcessWorker
from pydantic import ValidationError

from deployments import components, definitions, instance, limits, ports, supervisor, tidying
from deployments.children import StartError
from deployments.definitions import ROOT
from deployments.instance import AlreadyRunningError, Instance, ProcessMark
from deployments.ports import PortTakenError
from deployments.supervisor import Supervisor
from lib.settings import Settings

STAGES = ("discovery", "preparation", "generation", "posting")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
CONTAINERS = ROOT / "deployments"

# prefect.yaml


def raw() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(definitions.FILE.read_text())
    return found


def test_prefect_reads_what_we_read() -> None:
    theirs = PrefectYamlModel.model_validate(raw())
    assert [each.name for each in theirs.deployments] == [each.name for each in definitions.load().deployments]


@pytest.mark.parametrize("name", [each.name for each in definitions.load().deployments])
def test_every_entrypoint_is_an_async_flow_of_the_deployments_name(name: str) -> None:
    (found,) = (each for each in definitions.load().deployments if each.name == name)
    flow = definitions.load_flow(found.entrypoint)
    assert flow.name == name
    assert flow.isasync
    assert found.entrypoint == f"flows/{name}.py:{name}"


def test_every_flow_is_deployed() -> None:
    files = {path.stem for path in (ROOT / "flows").glob("*.py")} - {"__init__"}
    assert files == {each.name for each in definitions.load().deployments}


def test_the_stages_take_turns_within_one_interval() -> None:
    stages = [each for each in definitions.load().deployments if each.is_stage]
    assert [each.tags for each in stages] == [["pressroom", f"stage:{name}"] for name in STAGES]
    for interval in (180.0, 15.0):
        (schedules,) = zip(*(each.with_stage_interval(interval).schedules for each in stages), strict=True)
        assert {each.interval for each in schedules} == {interval}
        offsets = [each.anchor_date.timestamp() % interval for each in schedules if each.anchor_date]
        assert offsets == [interval * quarter / 4 for quarter in range(4)]


def test_upkeep_keeps_its_own_intervals() -> None:
    upkeep = {each.name: each for each in definitions.load().deployments if not each.is_stage and each.schedules}
    intervals = {name: each.with_stage_interval(5).schedules[0].interval for name, each in upkeep.items()}
    assert intervals == {
        "enforce_time_limits": 60,
        "take_over_abandoned_work": 30,
        "check_health": 120,
        "deliver_alerts": 30,
        "clean_up_sessions": 300,
        "delete_old_records": None,
    }


def test_nothing_sets_active_so_that_a_paused_schedule_stays_paused() -> None:
    assert "active:" not in re.sub(r"#.*", "", definitions.FILE.read_text())


@pytest.mark.parametrize(
    "place",
    [
        lambda file: file,
        lambda file: file["deployments"][0],
        lambda file: file["deployments"][0]["work_pool"],
        lambda file: file["deployments"][0]["schedules"][0],
    ],
    ids=["file", "deployment", "work pool", "schedule"],
)
def test_an_unknown_key_is_refused_wherever_it_is(
    place: Callable[[dict[str, Any]], dict[str, Any]], tmp_path: Path
) -> None:
    found = json.loads(json.dumps(raw()))
    place(found)["shedule"] = 1
    (tmp_path / "prefect.yaml").write_text(yaml.safe_dump(found))
    with pytest.raises(ValidationError, match="shedule"):
        definitions.load(tmp_path / "prefect.yaml")


# The settings of what is started


def prefect_environment() -> dict[str, str]:
    compose = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())
    inside = [service.get("environment", {}) for service in compose["services"].values()]
    names = components.SERVER_TUNING | components.CLIENT_TUNING
    for each in inside:
        names |= {name: value for name, value in each.items() if name.startswith("PREFECT_")}
    return {name: value for name, value in names.items() if name.startswith("PREFECT_")}


@pytest.mark.parametrize("name", sorted(prefect_environment()))
def test_the_installed_prefect_knows_each_setting(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for other in os.environ:
        if other.startswith("PREFECT_"):
            monkeypatch.delenv(other)
    before = PrefectSettings()
    monkeypatch.setenv(name, prefect_environment()[name])
    assert PrefectSettings() != before


def test_the_playgrounds_settings_give_way_to_what_was_set() -> None:
    chosen = components.with_playground(Settings(post_interval=7, database_url=None))
    assert (chosen.post_interval, chosen.stage_interval, chosen.allow_private_addresses) == (7, 15, True)


def test_a_child_reads_the_settings_of_its_supervisor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = components.with_playground(Settings(data_dir=tmp_path, encryption_keys="secret", stage_interval=12.5))
    for name, value in components.as_environment(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings


def test_secrets_stay_with_what_needs_them(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, encryption_keys="secret", database_url="postgresql+asyncpg://u:secret@h/d")
    parts = components.Components(settings, "http://127.0.0.1:1/api", own_server=True)
    for program in (parts.playground("scripted"), parts.prefect()):
        assert not [name for name in program.environment if name.startswith("PRESSROOM_")]
    assert parts.worker().environment["PRESSROOM_ENCRYPTION_KEYS"] == "secret"


# Ports


def test_a_taken_port_is_named_with_its_setting() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"{port} is taken.*PRESSROOM_PREFECT_PORT"):
            ports.check({"prefect_port": port})


def test_two_settings_with_one_port_are_named() -> None:
    with pytest.raises(PortTakenError, match="PRESSROOM_A and PRESSROOM_B"):
        ports.check({"a": 1, "b": 1} if ports._is_free(1) else {"a": 61_234, "b": 61_234})


def test_only_what_is_started_needs_a_port() -> None:
    assert set(ports.needed(Settings(), own_server=False, playground=False)) == {"console_port"}
    assert len(ports.needed(Settings(), own_server=True, playground=True)) == 3


# The data directory


def test_a_data_directory_has_one_holder_who_is_named(tmp_path: Path) -> None:
    with (
        instance.locked(tmp_path / "new"),
        pytest.raises(AlreadyRunningError, match=str(os.getpid())),
        instance.locked(tmp_path / "new"),
    ):
        pass
    with instance.locked(tmp_path / "new"):
        pass


def record(data_dir: Path, mark: ProcessMark, *children: ProcessMark) -> None:
    instance.write(data_dir, Instance(mark, children, {}, {"PREFECT_API_URL": "http://127.0.0.1:1/api"}))


def test_a_record_of_a_process_that_is_gone_finds_nothing(tmp_path: Path) -> None:
    me = ProcessMark.of("supervisor", os.getpid())
    record(tmp_path, me)
    assert instance.running(tmp_path) is not None
    record(tmp_path, ProcessMark("supervisor", me.pid, me.started - 60))
    assert instance.running(tmp_path) is None, "the number is another process's by now"


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"supervisor": 1}', "\x00"])
def test_a_damaged_record_is_no_record(content: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(content)
    assert instance.read(tmp_path) is None
    assert instance.end_leftovers(tmp_path) == []


def test_leftovers_are_ended_and_strangers_are_not(tmp_path: Path) -> None:
    with (
        subprocess.Popen(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"], start_new_session=True) as leftover,
        subprocess.Popen(["sleep", "60"]) as stranger,
    ):
        ours = ProcessMark.of("worker", leftover.pid)
        not_ours = ProcessMark("prefect", stranger.pid, ours.started - 60)
        record(tmp_path, ProcessMark("supervisor", 2**22 - 1, 0), ours, not_ours)
        assert instance.end_leftovers(tmp_path, patience=0.3) == ["worker"]
        ended, spared = leftover.poll() is not None, stranger.poll() is None
        stranger.kill()
    assert ended
    assert spared


# The supervisor


class FakeService:
    """A child whose end, and whose failing starts, the test decides."""

    def __init__(self, name: str, rank: int, log: list[str], fail: int = 0) -> None:
        self.name, self.rank, self.pid = name, rank, 1
        self._log, self._fail = log, fail
        self.end: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        self._log.append(f"start {self.name}")
        if self.end.done():
            self.end = asyncio.get_running_loop().create_future()
            if self._fail:
                self._fail -= 1
                raise StartError("no port\nand a log")

    async def ended(self) -> int:
        return await self.end

    async def stop(self) -> None:
        self._log.append(f"stop {self.name}")

    def kill(self) -> None:
        self._log.append(f"kill {self.name}")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def watching(log: list[str], monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    monkeypatch.setattr(supervisor, "FIRST_WAIT", 0.01)
    return Supervisor(lambda name, said: log.append(f"{name}: {said}"), lambda: None)


async def test_a_child_that_ends_is_started_again_until_it_starts(watching: Supervisor, log: list[str]) -> None:
    service = FakeService("worker", 3, log, fail=1)
    await watching.start(service)
    service.end.set_result(-9)
    while log[-1] != "worker: runs again (process 1)":
        await asyncio.sleep(0.01)
    await watching.stop()
    assert log == [
        "start worker",
        "worker: was killed by SIGKILL; starting it again in 0 s",
        "start worker",
        "worker: did not start: no port; starting it again in 0 s",
        "start worker",
        "worker: runs again (process 1)",
        "stop worker",
    ]


async def test_the_highest_rank_stops_first(watching: Supervisor, log: list[str]) -> None:
    for rank, name in enumerate(("postgres", "prefect", "worker")):
        await watching.start(FakeService(name, rank, log))
    await watching.stop()
    assert log[-3:] == ["stop worker", "stop prefect", "stop postgres"]


@pytest.mark.parametrize(
    ("lived", "expected"), [(5, [1, 2, 4, 4, 4, 4, 4]), (None, [1, 2, 4, 8, 16, 30, 30]), (61, [1] * 7)]
)
def test_the_wait_doubles_and_is_longest_for_what_does_not_come_up(lived: float | None, expected: list[float]) -> None:
    waits = [0.0]
    for _ in expected:
        waits.append(supervisor.next_wait(waits[-1], lived))
    assert waits[1:] == expected


def test_what_comes_up_at_last_and_dies_is_soon_started_again() -> None:
    assert supervisor.next_wait(30, 5) == 4


# What a worker puts right


def a_run(*, minutes: float = 0, deployment: Any = None, auto: bool = True, **more: Any) -> FlowRun:
    at = NOW - timedelta(minutes=minutes)
    values = {"state": Scheduled(scheduled_time=at)} | more
    return FlowRun(
        id=uuid4(), flow_id=uuid4(), deployment_id=deployment, auto_scheduled=auto, expected_start_time=at, **values
    )


def test_of_late_runs_the_newest_of_each_deployment_and_what_people_asked_for_stay() -> None:
    one, other = uuid4(), uuid4()
    old, new = a_run(minutes=9, deployment=one), a_run(minutes=3, deployment=one)
    alone, asked = a_run(minutes=60, deployment=other), a_run(minutes=99, deployment=one, auto=False)
    assert tidying.superfluous([new, old, alone, asked]) == [old]


def test_a_run_is_an_orphan_when_its_worker_is_gone() -> None:
    def owned_by(worker: str | None, *, seconds: float = 5) -> FlowRun:
        labels = {} if worker is None else {tidying.LABEL: worker}
        return a_run(labels=labels, state=Pending(timestamp=NOW - timedelta(seconds=seconds)))

    assert tidying.is_orphan(owned_by("dead"), {"alive"}, NOW)
    assert not tidying.is_orphan(owned_by("alive"), {"alive"}, NOW)
    assert not tidying.is_orphan(owned_by(None), {"alive"}, NOW), "just being taken"
    assert tidying.is_orphan(owned_by(None, seconds=90), {"alive"}, NOW)
    assert tidying.is_orphan(owned_by(None), set(), NOW)


async def test_a_limit_is_not_set_and_nothing_fails_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert not await limits.ensure_tag_limit(uuid4())
    assert not await limits.remove_tag_limit(uuid4())


# Containers


def test_the_work_pools_templates_fit_their_workers() -> None:
    ours = json.loads((CONTAINERS / "work-pools" / "process.json").read_text())
    theirs = ProcessWorker.get_default_base_job_template()
    assert ours["job_configuration"] == theirs["job_configuration"]
    assert ours["variables"]["properties"].keys() == theirs["variables"]["properties"].keys()
    assert ours["variables"]["properties"]["command"]["default"] == "python -m prefect.engine"
    assert ours["variables"]["properties"]["working_dir"]["default"] == "."
    docker = json.loads((CONTAINERS / "work-pools" / "docker.json").read_text())
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(docker["job_configuration"])))
    assert used == docker["variables"]["properties"].keys()


def dockerfile() -> list[str]:
    return re.sub(r"\\\n", " ", (CONTAINERS / "Dockerfile").read_text()).splitlines()


def test_the_image_is_pinned_runs_as_a_plain_user_and_is_watched() -> None:
    lines = dockerfile()
    for line in lines:
        if line.startswith("FROM "):
            image = line.split()[1]
            assert image == "pressroom" or re.fullmatch(r"python:3\.11-slim-\w+", image), line
    users = [line.split()[1] for line in lines if line.startswith("USER ")]
    assert users[-1] == "10001"
    assert any(line.startswith("HEALTHCHECK ") for line in lines)


def test_the_image_installs_the_lock_first_and_takes_only_what_it_needs() -> None:
    lines = [line for line in dockerfile() if line.startswith(("COPY ", "ADD "))]
    assert lines[0] == "COPY requirements.txt ./"
    copied = {word.rstrip("/") for line in lines for word in line.split()[1:-1]}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in ignored
    assert copied == {line[1:] for line in ignored if line.startswith("!")}


def test_hadolint_finds_nothing() -> None:
    subprocess.run([Path(sys.executable).parent / "hadolint", str(CONTAINERS / "Dockerfile")], check=True)


def test_the_compose_file_has_no_secret_in_it_and_opens_nothing_but_loopback() -> None:
    text = (CONTAINERS / "compose.yaml").read_text()
    compose = yaml.safe_load(text)
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD$|KEYS?$|TOKEN$", variable), f"{name}: {variable}"
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), f"{name}: {variable}"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert ":" in service["image"], name
        assert "restart" in service or service["healthcheck"] == {"disable": True}, name
    assert compose["secrets"]["postgres_password"]["file"].startswith("${POSTGRES_PASSWORD_FILE:?")


def test_each_service_waits_for_what_it_needs() -> None:
    services = yaml.safe_load((CONTAINERS / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            one_shot = services[other].get("healthcheck") == {"disable": True}
            wanted = "service_completed_successfully" if one_shot else "service_healthy"
            assert how == {"condition": wanted}, f"{name} on {other}"


def test_the_shared_volume_gets_its_secrets_once(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p:w\\d\n")
    owner = f"{os.getuid()}:{os.getgid()}"
    path = os.pathsep.join((str(ROOT / ".venv" / "bin"), os.environ["PATH"]))
    environment = {"PATH": path, "DATA": str(tmp_path), "SECRET": str(tmp_path / "secret"), "OWNER": owner}
    keys = set()
    for _ in range(2):
        subprocess.run(["sh", str(CONTAINERS / "prepare.sh")], env=environment, check=True)
        keys.add((tmp_path / "encryption.keys").read_text())
    assert len(keys) == 1
    assert (tmp_path / "pgpass").read_text() == "postgres:5432:*:pressroom:p\\:w\\\\d\n"
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "pgpass", tmp_path / "encryption.keys")} == {0o600}
