"""A request's body has a bound, so that nobody fills the memory."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lib.alerts import relay

MOST_BYTES = 1_000_000
# Read before it is known who asks.
_LESS = {relay.PATH: relay.MAX_BODY}


class BodyLimitMiddleware:
    """Answers 413, also to a body whose length was not announced."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        read, most = 0, _LESS.get(scope["path"], MOST_BYTES)

        async def receive_some() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > most:
                raise HTTPException(413, f"A request may have {most:,} bytes at most")
            return message

        await self._app(scope, receive_some, send)
