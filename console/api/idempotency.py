"""Idempotency keys: a program that does not know whether its request arrived sends it again, with the same key.

The second time nothing is done, and the first answer is given again; while the first is at work, the second waits for
it. A request that was turned away did nothing, so its key is free again. One that was cut off may have done what it
was to do: its key is answered 409 until its day is over.
"""

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated
from uuid import UUID

from fastapi import Header, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from console.api import problems
from console.security.actor import Actor
from console.security.state import Console, console_of
from lib.errors import Conflict, PressroomError
from lib.people import tokens
from lib.people.store import keys
from lib.people.store.keys import Answered

NAME = "Idempotency-Key"
REPLAYED = "Idempotency-Replayed"
IdempotencyKey = Annotated[
    str | None,
    Header(
        alias=NAME,
        min_length=1,
        max_length=255,
        pattern=r"^[!-~]+$",
        description="Any text of yours, new for each thing to do. Sent again within 24 hours it does nothing, and is "
        "answered as the first time.",
        examples=["c0ffee00-start-watch"],
    ),
]
WAITED_SECONDS = 30.0
_LOOK_EVERY = 0.1
_PURPOSE = "idempotency"
_KEPT_HEADERS = ("ETag", "Location", "Content-Type")


@dataclass(frozen=True)
class _Claimed:
    """A key that is this request's own."""

    console: Console
    user_id: UUID
    hash: bytes


async def once(request: Request, actor: Actor, key: str | None, do: Callable[[], Awaitable[Response]]) -> Response:
    """What `do` answers, done once a key. Raise 422 for a key that came with another request before."""
    if key is None:
        return await do()
    console, said = console_of(request), await _fingerprint(request)
    mine = _Claimed(console, actor.user_id, tokens.digest(key))
    before = await _claim(mine, said)
    if before is not None:
        return Response(before.body, before.status, {**before.headers, REPLAYED: "true"})
    try:
        made = await do()
    except (PressroomError, HTTPException, RequestValidationError):
        async with console.database.session() as session:
            await keys.release(session, mine.user_id, mine.hash)
        raise
    kept = {name: made.headers[name] for name in _KEPT_HEADERS if name in made.headers}
    async with console.database.session() as session:
        await keys.settle(session, mine.user_id, mine.hash, Answered(made.status_code, kept, bytes(made.body)))
    return made


async def _claim(mine: _Claimed, said: str) -> Answered | None:
    """None when it is ours to do; else what was answered."""
    mark, ends = mine.console.signer.mark(_PURPOSE, said), time.monotonic() + WAITED_SECONDS
    while True:
        async with mine.console.database.session() as session:
            used = await keys.claim(session, mine.user_id, mine.hash, mark)
        if used is None:
            return None
        if not mine.console.signer.is_mark(_PURPOSE, said, used.mark):
            raise problems.parameter("header", NAME, "This key came with another request; take a new one for this")
        if used.answered is not None:
            return used.answered
        if time.monotonic() > ends:
            raise Conflict(
                f"The first request with this {NAME} has not ended: it is at work, or was cut off. Look at what it did "
                "before you send it with another key"
            )
        await asyncio.sleep(_LOOK_EVERY)


async def _fingerprint(request: Request) -> str:
    """The same for the same method, address and body, however the body is spaced."""
    body = await request.body()
    said = json.dumps(json.loads(body), sort_keys=True) if body else ""
    text = f"{request.method} {request.url.path}?{request.url.query}\n{said}"
    return hashlib.sha256(text.encode()).hexdigest()
