"""The console on a loopback port, records of tasks that are written while somebody looks, and readers of the feed."""

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI
from websockets.asyncio.client import ClientConnection, connect

from console.app import create_app
from console.security import serving as options
from console.security import sessions
from lib import work
from lib.database import Database
from lib.people.store.accounts import Person
from lib.settings import Settings
from lib.taskwatch.store import writing
from lib.taskwatch.store.writing import Beat

BEAT = Beat(uuid4(), "somewhere", 1)
WITHIN = 60.0  # seconds, generous


@dataclass
class Served:
    """A console in a thread of its own, with its own loop and hub."""

    app: FastAPI
    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def address(self, after: int | None = None) -> str:
        return f"ws://127.0.0.1:{self.port}/api/v1/monitoring/ws" + ("" if after is None else f"?after={after}")

    def session_of(self, person: Person) -> tuple[dict[str, str], sessions.Session]:
        """The headers of a browser that this person is signed in with."""
        session = sessions.begin(person.id, person.session_epoch, time.time())
        sealed = self.app.state.console.signer.seal("session", sessions.as_value(session))
        return {"Cookie": f"pressroom_session={sealed}"}, session


@contextmanager
def serving(settings: Settings) -> Iterator[Served]:
    app = create_app(settings)
    config = uvicorn.Config(app, **(options.uvicorn_options(settings) | {"port": 0, "timeout_graceful_shutdown": 2}))
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Served(app, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the console does not end"


def record(**values: Any) -> dict[str, Any]:
    """A unit that was begun now."""
    now = datetime.now(UTC).isoformat()
    made = {"id": work.new_id(), "created_at": now, "started_at": now, "task_name": "prepare_article"}
    return made | {"kind": "item", "status": "running", "recorder_id": BEAT.recorder_id} | values


def ended(begun: dict[str, Any], status: str = "success", **values: Any) -> dict[str, Any]:
    """The same when it is over."""
    return begun | {"status": status, "completed_at": datetime.now(UTC).isoformat(), "duration_ms": 12.5} | values


def failed(**values: Any) -> dict[str, Any]:
    said = {"error_type": "Transient", "error_message": "The site answered HTTP 503", "place": "lib/http.py:1"}
    said |= {"error_traceback": "Traceback …", "cause": "The site answered HTTP *", "fingerprint": "f00d"}
    return ended(record(), "failed", **(said | values))


async def write(database: Database, *records: dict[str, Any]) -> None:
    async with database.alone() as connection:
        await writing.write(connection, records, BEAT)


@dataclass
class Reader:
    """Reads the feed and remembers how far it is; `events` are the numbers that it got, in order."""

    served: list[Served]
    headers: dict[str, str]
    seq: int | None = None
    events: list[int] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    connections: int = 0

    @asynccontextmanager
    async def connected(self, **more: Any) -> AsyncIterator[ClientConnection]:
        """To one console after the other."""
        console = self.served[self.connections % len(self.served)]
        self.connections += 1
        headers = {"Origin": console.origin} | self.headers
        async with connect(console.address(self.seq), additional_headers=headers, open_timeout=WITHIN, **more) as made:
            yield made

    def take(self, text: str | bytes) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(text)
        self.told.append(told)
        if told["type"].startswith("task_"):
            self.events.append(told["seq"])
        self.seq = told["seq"]
        return told

    async def read(self, connection: ClientConnection) -> dict[str, Any]:
        async with asyncio.timeout(WITHIN):
            return self.take(await connection.recv())

    async def read_to(self, connection: ClientConnection, seq: int) -> None:
        """Until it is complete up to this number."""
        while self.seq is None or self.seq < seq:
            await self.read(connection)


def narrow(port: int) -> socket.socket:
    """A connection that soon is full when nobody reads."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    made.connect(("127.0.0.1", port))
    made.setblocking(False)
    return made


@contextlib.asynccontextmanager
async def writing_on(database: Database, owners: list[UUID | None], pause: float) -> AsyncIterator[None]:
    """Tasks begin and end without a pause that matters, for one owner after the other, until the block ends."""
    stop = asyncio.Event()

    async def write_on() -> None:
        number = 0
        while not stop.is_set():
            begun = record(owner_id=owners[number % len(owners)], parameters={"number": number})
            await write(database, begun)
            await write(database, ended(begun))
            number += 1
            await asyncio.sleep(pause)

    task = asyncio.create_task(write_on())
    try:
        yield
    finally:
        stop.set()
        await task
