"""A stream of its own for each stage, so that what waits for a login's turn keeps nobody from the model."""

# mypy: disable-error-code="untyped-decorator, no-any-return"
import os
from typing import Any

from clients import Tools, tools
from redis.asyncio import Redis
from taskiq import TaskiqEvents, TaskiqScheduler, TaskiqState
from taskiq.schedule_sources import LabelScheduleSource
from taskiq_redis import RedisStreamBroker

from lib import llm

STAGES = ("discovery", "preparation", "generation", "posting")
URL = os.environ["PEER_REDIS_URL"]
BEAT_SECONDS = int(os.environ.get("PEER_BEAT_SECONDS", "180"))
# A message that a dead worker held goes to another one after so long; also the longest hold of an item's lock.
TAKEOVER_SECONDS = 60
DATABASE_POOL = 5


class _Lent:
    """The tools that live as long as a worker: taskiq opens and closes them with it."""

    tools: Tools
    redis: Redis


lent = _Lent()


def _broker(stage: str) -> RedisStreamBroker:
    broker = RedisStreamBroker(
        URL,
        queue_name=stage,
        consumer_id="0",
        xread_count=20,
        xread_block=1000,
        idle_timeout=TAKEOVER_SECONDS * 1000,
        unacknowledged_lock_timeout=5,
    )

    @broker.on_event(TaskiqEvents.WORKER_STARTUP)
    async def start(state: TaskiqState) -> None:
        llm.load()
        opened = tools(DATABASE_POOL)
        lent.tools = await opened.__aenter__()
        lent.redis = Redis.from_url(URL)
        state.opened = opened

    @broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
    async def stop(state: TaskiqState) -> None:
        nothing: tuple[Any, Any, Any] = (None, None, None)
        await state.opened.__aexit__(*nothing)
        await lent.redis.aclose()

    return broker


discovery, preparation, generation, posting = (_broker(stage) for stage in STAGES)
scheduler = TaskiqScheduler(discovery, [LabelScheduleSource(discovery)])
