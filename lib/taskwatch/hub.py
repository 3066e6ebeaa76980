"""The live feed of one console: what is written anywhere is told to everybody who follows, in order, without a gap.

The hub listens on a connection of its own. A notification says only that something is new: then the table is read
once, from the last number on, however many follow, and each event is made into text once. A follower that falls
behind reads from the table at its own pace and comes back; nobody waits for it.
"""

import asyncio
import contextlib
import json
import random
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from lib.database import Database, Executor, will_pass
from lib.taskwatch.store import feed

log = structlog.get_logger()

LISTENS = "pressroom feed"  # the connection's name in pg_stat_activity
PAGE = 500
MOST_WAITING = 1000  # events of one follower; they are shared, so each costs a reference
READERS = 3  # of the table at once: more would take the connections that answer requests
LOOK_EVERY = 5.0  # seconds: a connection that died without a word is found so
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0
_SECONDS = 10.0  # for a connection, and for a statement of it


@dataclass(frozen=True, slots=True)
class Message:
    """What a follower is sent, as JSON: who has it is complete up to `seq`. `owner_id`: only they and admins see it."""

    seq: int
    text: str
    owner_id: UUID | None = None
    for_all: bool = False


class Follower:
    """One reader of the feed, from behind `seq` on: it is complete up to that once it has passed on what it read.

    `sees`: None reads everybody's events. Leave when done.
    """

    def __init__(self, hub: "Hub", sees: UUID | None, seq: int) -> None:
        self.seq = seq
        self._hub = hub
        self._sees = sees
        self._waiting: deque[Message] = deque()
        self._offered = 0
        self._joined_at = 0
        self._is_live = False
        self._news = asyncio.Event()

    async def read(self, patience: float) -> Sequence[Message]:
        """What comes next, in order; nothing when so many seconds bring nothing.

        Raise what the database raises, while it still reads what it missed.
        """
        if not self._is_live:
            return await self._catch_up()
        if not self._waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(patience, 0)):
                    await self._news.wait()
        self._news.clear()
        found = [message for message in self._waiting if message.seq > self.seq]
        self._waiting.clear()
        self.seq = max(self.seq, self._offered)
        return found

    def offer(self, messages: Sequence[Message], upto: int) -> None:
        """More of the feed, complete up to this number. Of what is too much for it nothing is kept: it was away."""
        mine = messages if self._sees is None else [each for each in messages if self._is_for_me(each)]
        if len(self._waiting) + len(mine) > MOST_WAITING:
            self.leave()
            return
        self._offered = upto
        self._waiting.extend(mine)
        if mine:
            self._news.set()

    def _is_for_me(self, message: Message) -> bool:
        return message.for_all or message.owner_id == self._sees

    def leave(self) -> None:
        self._hub.followers.discard(self)
        self._is_live = False
        self._offered = 0
        self._waiting.clear()
        self._news.set()

    async def _catch_up(self) -> Sequence[Message]:
        """A page of the table. At its end it is offered what is new from then on, and reads the end once more."""
        found, is_last = await self._hub.page(self._sees, self.seq)
        if found:
            self.seq = found[-1].seq
        if is_last and self not in self._hub.followers:
            await self._hub.ready.wait()
            self._joined_at = self._offered = self._hub.seq
            self._hub.followers.add(self)
        elif is_last:
            self.seq = max(self.seq, self._joined_at)
            self._is_live = True
        return found


class Hub:
    """`async with Hub(url, database) as hub:` ends it. It connects when the first one follows.

    `database`: where followers read what they missed. `seq`: up to where the feed was passed on.
    """

    def __init__(self, url: str, database: Database) -> None:
        self.followers: set[Follower] = set()
        self.ready = asyncio.Event()
        self.seq = 0
        self._url = url
        self._database = database
        self._readers = asyncio.Semaphore(READERS)
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._told = 0
        self._pause = _FIRST_PAUSE

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def bounds(self) -> tuple[int, int]:
        """The oldest number that there is and the newest; of an empty table the one to come and the one before it."""
        async with self._readers, self._database.alone() as connection:
            return await feed.bounds(connection)

    def follow(self, sees: UUID | None, seq: int) -> Follower:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="feed")
        return Follower(self, sees, seq)

    async def page(self, sees: UUID | None, seq: int) -> tuple[list[Message], bool]:
        """What is behind this number, and whether that is all. Begins with what is too old, if something is."""
        async with self._readers, self._database.alone() as connection:
            events = await feed.since(connection, sees, seq, PAGE)
            oldest, _ = await feed.bounds(connection)  # afterwards: what went meanwhile is not missed
        found = [message_of(event) for event in events]
        if oldest > seq + 1:
            found = [too_old(seq + 1, oldest - 1), *(each for each in found if each.seq >= oldest)]
        return found, len(events) < PAGE

    async def _run(self) -> None:
        """For good: a database that restarts is asked again, from the last number on."""
        while True:
            try:
                async with self._listening() as connection:
                    await self._pass_on(connection)
            except Exception as error:
                if will_pass(error) or isinstance(error, TimeoutError):
                    log.warning("feed.database_away", error=type(error).__name__)
                else:
                    log.exception("feed.unexpected_error")
            await asyncio.sleep(self._pause * random.uniform(0.5, 1))  # noqa: S311 - it spreads the consoles
            self._pause = min(self._pause * 2, _LONGEST_PAUSE)

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[AsyncConnection]:
        """A connection that hears of news, and of its own end."""
        engine = create_async_engine(
            self._url,
            poolclass=NullPool,
            isolation_level="AUTOCOMMIT",
            hide_parameters=True,
            connect_args={
                "timeout": _SECONDS,
                "command_timeout": _SECONDS,
                "server_settings": {"application_name": LISTENS},
            },
        )
        async with engine.connect() as connection:
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.add_termination_listener(lambda _: self._news.set())
            await driver.add_listener(feed.CHANNEL, self._heard)
            yield connection

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        self._told = max(self._told, int(payload) if payload.isdecimal() else 0)
        self._news.set()

    async def _pass_on(self, connection: AsyncConnection) -> None:
        if not self.ready.is_set():
            _, self.seq = await feed.bounds(connection)
            self.ready.set()
        driver: Any = (await connection.get_raw_connection()).driver_connection
        while not driver.is_closed():
            self._news.clear()
            await self._read(connection)
            self._pause = _FIRST_PAUSE
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._news.wait()
        raise ConnectionResetError("The connection that listens was closed")

    async def _read(self, connection: Executor) -> None:
        """All that is new, for everybody at once; while nobody follows, only how far it is."""
        while self.followers:
            events = await feed.since(connection, None, self.seq, PAGE)
            messages = [message_of(event) for event in events]
            if messages and messages[0].seq > self.seq + 1:
                messages = await self._with_gap(connection, messages)
            if messages:
                self.seq = messages[-1].seq
                for follower in tuple(self.followers):
                    follower.offer(messages, self.seq)
            if len(events) < PAGE:
                return
            await asyncio.sleep(0)  # the followers' turn
        self.seq = max(self.seq, self._told)

    async def _with_gap(self, connection: Executor, messages: list[Message]) -> list[Message]:
        """It was away for so long that the table has not kept what it missed."""
        oldest, _ = await feed.bounds(connection)
        if oldest <= self.seq + 1:
            return messages
        return [too_old(self.seq + 1, oldest - 1), *(each for each in messages if each.seq >= oldest)]


def too_old(first: int, last: int) -> Message:
    """What the table no longer has, from the first number to the last."""
    return Message(last, json.dumps({"type": "too_old", "from": first, "to": last, "seq": last}), for_all=True)


def message_of(event: feed.Event) -> Message:
    return Message(event.seq, json.dumps(event.event, ensure_ascii=False, separators=(",", ":")), event.owner_id)
