"""Answers as bytes, and the ways in which a connection fails to carry them."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

TRANSPORT = "playground.transport"
_DRIPS_PER_SECOND = 10
_MEGABYTE = 1024 * 1024


class Protocol(H11Protocol):
    """HTTP whose application can reach the connection itself: only so can it be dropped without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        app: Any = self.app

        async def with_transport(scope: Any, receive: Any, send: Any) -> None:
            scope[TRANSPORT] = transport
            await app(scope, receive, send)

        self.app = with_transport


@dataclass(frozen=True)
class Answer:
    """A whole answer, not yet sent."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def with_body(self, body: bytes) -> "Answer":
        length = (b"content-length", str(len(body)).encode())
        return replace(self, headers=(*self.headers_without(b"content-length"), length), body=body)

    def headers_without(self, name: bytes) -> tuple[tuple[bytes, bytes], ...]:
        return tuple(header for header in self.headers if header[0] != name)

    @property
    def is_json(self) -> bool:
        return dict(self.headers).get(b"content-type", b"").startswith(b"application/json")


@dataclass(frozen=True)
class Connection:
    """The server's side of one request."""

    scope: Scope
    receive: Receive
    send: Send

    async def answer(self, answer: Answer) -> None:
        await self._start(answer.status, answer.headers)
        await self.send({"type": "http.response.body", "body": answer.body})

    async def drop(self, *, reset: bool = False) -> None:
        """End the connection without a word, or with a TCP reset."""
        transport: asyncio.Transport = self.scope[TRANSPORT]
        if reset:
            raw = transport.get_extra_info("socket")
            with suppress(OSError):  # whoever is gone already needs no reset
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
        await self._gone()

    async def truncate(self, answer: Answer) -> None:
        """Half of the body, then the end, though the length promised all of it."""
        length = max(len(answer.body), 100)
        await self._start(
            answer.status, (*answer.headers_without(b"content-length"), (b"content-length", str(length).encode()))
        )
        await self.send(_part(answer.body[: len(answer.body) // 2]))
        self.scope[TRANSPORT].close()
        await self._gone()

    async def drip(self, answer: Answer, bytes_per_s: float) -> None:
        """The body in small pieces, for as long as someone listens."""
        size = max(1, round(bytes_per_s / _DRIPS_PER_SECOND))
        await self._start(answer.status, answer.headers)
        for start in range(0, len(answer.body), size):
            if self.scope[TRANSPORT].is_closing():
                return
            await self.send(_part(answer.body[start : start + size]))
            await asyncio.sleep(size / bytes_per_s)
        await self.send({"type": "http.response.body", "body": b""})

    async def oversize(self, answer: Answer, megabytes: float) -> None:
        """The body and then blanks without a length announced: only reading shows how much it is."""
        await self._start(answer.status, answer.headers_without(b"content-length"))
        async for chunk in _blanks(answer.body, int(megabytes * _MEGABYTE)):
            if self.scope[TRANSPORT].is_closing():
                return
            await self.send(_part(chunk))
        await self.send({"type": "http.response.body", "body": b""})

    async def flushed(self) -> None:
        """Until the system has taken the last byte."""
        while not self.scope[TRANSPORT].is_closing() and self.scope[TRANSPORT].get_write_buffer_size():  # noqa: ASYNC110 (a transport has no event for it)
            await asyncio.sleep(0.001)

    async def _start(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        await self.send({"type": "http.response.start", "status": status, "headers": list(headers)})

    async def _gone(self) -> None:
        # The server would answer 500 for us if we returned before it knew that nobody is there.
        while (await self.receive())["type"] != "http.disconnect":
            pass


async def capture(app: ASGIApp, connection: Connection, body: bytes) -> Answer:
    """Run the application on a request and keep its answer."""
    waiting = [body]
    status, headers, parts = 500, list[tuple[bytes, bytes]](), list[bytes]()

    async def replay() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await connection.receive()

    async def keep(message: Message) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status, headers = message["status"], list(message["headers"])
        else:
            parts.append(message.get("body", b""))

    await app(connection.scope, replay, keep)
    return Answer(status, tuple(headers), b"".join(parts))


async def read_body(receive: Receive) -> bytes | None:
    """The whole body of a request; None if its sender went away before the end."""
    parts = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)


def _part(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


async def _blanks(first: bytes, total: int) -> AsyncIterator[bytes]:
    yield first
    left = total - len(first)
    while left > 0:
        size = min(left, 64 * 1024)
        yield b" " * size
        left -= size
