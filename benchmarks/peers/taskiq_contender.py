"""Jobs of taskiq as a contender: a worker a stage, a scheduler, and Redis."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil

from benchmarks.contenders import BEAT_SECONDS, Polls
from benchmarks.ground import Outside, wait_until
from benchmarks.peers import environments
from benchmarks.peers.programs import alive, program
from benchmarks.peers.redis_server import Redis, redis, redis_version

PEER = "taskiq_jobs"
# Jobs at once of each stage's one worker; that of generation has as many as there may be model calls.
AT_ONCE = {"discovery": 20, "preparation": 20, "posting": 200}


@dataclass(frozen=True)
class _Running:
    redis: Redis
    managers: tuple[int, ...]
    scheduler: int

    def workers(self) -> Sequence[int]:
        """What taskiq's managers start again."""
        return [each.pid for manager in self.managers for each in _workers_of(manager)]

    def components(self) -> Mapping[str, Sequence[int]]:
        return {
            "worker": [*self.managers, *self.workers()],
            "scheduler": [self.scheduler],
            "Redis": [self.redis.pid],
        }

    def polls(self) -> Polls:
        """The looks at the site: its later stages are jobs, which nobody looks for."""
        found, empty = (int(self.redis.ask("get", f"looks:{kind}") or 0) for kind in ("found", "empty"))
        return Polls(found + empty, empty)


@dataclass(frozen=True)
class TaskiqJobs:
    name: str = "taskiq, one item a job"

    def versions(self) -> Mapping[str, str]:
        return {**environments.versions_of(PEER, "taskiq", "taskiq-redis", "redis"), "Redis server": redis_version()}

    @contextlib.contextmanager
    def running(self, outside: Outside) -> Iterator[_Running]:
        taskiq = str(environments.programs_of(PEER) / "taskiq")
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(redis(outside.place))
            environment = environments.settings_of(server.url, outside.database_url, BEAT_SECONDS)
            started = []
            for stage, at_once in (AT_ONCE | {"generation": outside.at_once}).items():
                command = [taskiq, "worker", f"taskiq_jobs.brokers:{stage}", "taskiq_jobs.jobs", "--workers", "1"]
                command += ["--max-async-tasks", str(at_once), "--log-level", "WARNING"]
                log = outside.place / f"taskiq-{stage}.log"
                started.append((stack.enter_context(program(command, environment, log)), log, stage))
            wait_until(lambda: all(alive(manager, log) and _listens(server, stage) for manager, log, stage in started))
            command = [taskiq, "scheduler", "taskiq_jobs.brokers:scheduler", "taskiq_jobs.jobs"]
            scheduler = stack.enter_context(program(command, environment, outside.place / "taskiq-scheduler.log"))
            yield _Running(server, tuple(manager.pid for manager, _, _ in started), scheduler.pid)


def _listens(server: Redis, stage: str) -> bool:
    """Whether the stage's worker has made its group, which it does last."""
    return server.ask("xinfo", "groups", stage).startswith("name")


def _workers_of(manager: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        children = psutil.Process(manager).children()
        return [each for each in children if "resource_tracker" not in " ".join(each.cmdline())]
    return []
