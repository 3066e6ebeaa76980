"""The design of the document as a contender: a worker a queue, a beat, and Redis."""

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil

from benchmarks.contenders import BEAT_SECONDS, Polls
from benchmarks.ground import Outside, wait_until
from benchmarks.peers import environments
from benchmarks.peers.programs import alive, program
from benchmarks.peers.redis_server import Redis, redis, redis_version

PEER = "celery_design"
# The document has 1 each. With 20 in the queue of generation the bound on model calls is reached.
POOLS = {"discovery": 10, "preparation": 10, "generation": 20, "posting": 10, "scheduler": 1}


@dataclass(frozen=True)
class _Running:
    redis: Redis
    mains: tuple[int, ...]
    beat: int

    def workers(self) -> Sequence[int]:
        """The pools' processes: Celery's own main processes start them again."""
        return [each.pid for main in self.mains for each in _children(main)]

    def components(self) -> Mapping[str, Sequence[int]]:
        return {"worker": [*self.mains, *self.workers()], "beat": [self.beat], "Redis": [self.redis.pid]}

    def polls(self) -> Polls:
        """From the results that the four tasks left in Redis."""
        keys = self.redis.ask("keys", "celery-task-meta-*").split()
        found = [json.loads(each) for each in self.redis.ask("mget", *keys).splitlines()] if keys else []
        results = [each["result"] for each in found if each["status"] == "SUCCESS"]
        of_stages = [each for each in results if each.keys() & {"done", "discovered"}]
        return Polls(len(of_stages), sum(not any(each.values()) for each in of_stages))


@dataclass(frozen=True)
class CeleryDesign:
    name: str = "Celery, as the document has it"

    def versions(self) -> Mapping[str, str]:
        return {**environments.versions_of(PEER, "celery", "kombu", "redis"), "Redis server": redis_version()}

    @contextlib.contextmanager
    def running(self, outside: Outside) -> Iterator[_Running]:
        programs = environments.programs_of(PEER)
        with contextlib.ExitStack() as stack:
            server = stack.enter_context(redis(outside.place))
            environment = environments.settings_of(server.url, outside.database_url, BEAT_SECONDS)
            celery = [str(programs / "celery"), "-A", "celery_design.app"]
            started = []
            for queue, pool in POOLS.items():
                command = [*celery, "worker", "-Q", queue, "-c", str(pool), "-n", f"{queue}@%h", "--loglevel=warning"]
                log = outside.place / f"celery-{queue}.log"
                started.append((stack.enter_context(program(command, environment, log)), log, pool))
            wait_until(lambda: all(alive(main, log) and _is_up(main.pid, pool) for main, log, pool in started))
            mains = tuple(main.pid for main, _, _ in started)
            schedule = str(outside.place / "celerybeat")
            beat = stack.enter_context(
                program([*celery, "beat", "-s", schedule], environment, outside.place / "beat.log")
            )
            yield _Running(server, mains, beat.pid)


def _is_up(main: int, pool: int) -> bool:
    return len(_children(main)) >= pool


def _children(main: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(main).children()
    return []
