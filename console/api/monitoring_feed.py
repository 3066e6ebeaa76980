"""The live feed of the tasks, as a WebSocket: what every task does, as it happens, without a gap."""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.exceptions import HTTPException
from starlette.websockets import WebSocket, WebSocketDisconnect

from console.security.actor import Actor, Viewer, is_still, visit_of
from console.security.serving import SOCKET_BYTES
from lib.database import will_pass
from lib.taskwatch.hub import Follower, Hub

router = APIRouter(prefix="/monitoring")

SOCKETS = 20  # of one person
HEARTBEAT = 15.0  # seconds, as all times here
LOOK_EVERY, UNSEEN_FOR = 10.0, 30.0  # whether it is still allowed; without an answer it ends after the second
SEND_WITHIN, CLOSE_WITHIN, GONE_WITHIN = 5.0, 30.0, 60.0
SIGNED_OUT, TOO_BIG, AGAIN_LATER = 1008, 1009, 1013
MOST = 2**63 - 1


@dataclass(frozen=True)
class Ending:
    """Why a connection ends: the code and reason of its close frame."""

    code: int
    reason: str


@dataclass
class Places:
    """Who has how many connections to this console."""

    taken: Counter[UUID] = field(default_factory=Counter)

    @contextlib.contextmanager
    def one(self, user_id: UUID) -> Iterator[None]:
        """Raise 429 when they have as many as there may be."""
        if self.taken[user_id] >= SOCKETS:
            raise HTTPException(429, f"You have {SOCKETS} connections to the feed; close one")
        self.taken[user_id] += 1
        try:
            yield
        finally:
            self.taken[user_id] -= 1
            self.taken += Counter()  # forgets who has none


@router.websocket("/ws")
async def feed(socket: WebSocket, actor: Viewer, after: Annotated[int | None, Query(ge=0, le=MOST)] = None) -> None:
    """Every event behind `after`, else from now on. Each message has `seq`: whoever has it is complete up to there."""
    hub: Hub = socket.app.state.hub
    places: Places = socket.app.state.places
    with places.one(actor.user_id):
        oldest, newest = await hub.bounds()
        # A number that is still to come was never ours: of another database, or of one that was restored.
        begin = newest if after is None or after > newest else after
        follower = hub.follow(visit_of(socket, actor).sees, begin)
        await socket.accept()
        hello = _text(type="hello", seq=begin, oldest=oldest, newest=newest)
        try:
            ending = await _first(_tell(socket, follower, hello), _hear(socket), _watch(socket, actor))
        finally:
            follower.leave()
        await _close(socket, ending)


def _text(**told: Any) -> str:
    return json.dumps(told)


async def _first(*parts: Any) -> Ending | None:
    """What the first part that ends says; the others end with it."""
    tasks = [asyncio.ensure_future(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        ending: Ending | None = next(iter(done)).result()
        return ending
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _tell(socket: WebSocket, follower: Follower, hello: str) -> Ending | None:
    """Send, for as long as it is read."""
    try:
        await _send(socket, hello)
        beat = time.monotonic() + HEARTBEAT
        while True:
            for message in await follower.read(beat - time.monotonic()):
                await _send(socket, message.text)
            if time.monotonic() >= beat:
                await _send(socket, _text(type="heartbeat", seq=follower.seq))
                beat = time.monotonic() + HEARTBEAT
    except WebSocketDisconnect:
        return None
    except TimeoutError:
        return Ending(AGAIN_LATER, "You do not read what is sent; connect again with the last seq that you have")
    except Exception as error:
        if not will_pass(error):
            raise
        return Ending(AGAIN_LATER, "The database does not answer; connect again with the last seq that you have")


async def _send(socket: WebSocket, text: str) -> None:
    """Raise TimeoutError when nobody reads on the other side."""
    async with asyncio.timeout(SEND_WITHIN):
        await socket.send_text(text)


async def _hear(socket: WebSocket) -> Ending | None:
    """Until they go. What they say is not listened to."""
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        if len(message.get("text") or message.get("bytes") or "") > SOCKET_BYTES:
            return Ending(TOO_BIG, "There is nothing to say here")


async def _watch(socket: WebSocket, actor: Actor) -> Ending:
    """Until their session has ended, their token is not valid any more, or they may something else than before."""
    seen = time.monotonic()
    while time.monotonic() - seen < UNSEEN_FOR - LOOK_EVERY:
        await asyncio.sleep(LOOK_EVERY)
        try:
            async with asyncio.timeout(LOOK_EVERY):
                allowed = await is_still(socket, actor)
        except Exception as error:
            if not isinstance(error, TimeoutError) and not will_pass(error):
                raise
            continue
        if not allowed:
            return Ending(SIGNED_OUT, "Your session or token has ended, or your role has changed")
        seen = time.monotonic()
    return Ending(AGAIN_LATER, "The database does not say whether you are still signed in; connect again")


async def _close(socket: WebSocket, ending: Ending | None) -> None:
    """Say why, should they read it. Their place is free again when they are gone."""
    if ending is None:
        return
    with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):
        async with asyncio.timeout(CLOSE_WITHIN):
            await socket.close(ending.code, ending.reason)
        async with asyncio.timeout(GONE_WITHIN):
            while (await socket.receive())["type"] != "websocket.disconnect":
                pass
