"""Cookies that are set on the way out, whatever the response: `jar_of(request).set(…)`."""

from dataclasses import dataclass, field
from typing import Literal

from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SameSite = Literal["lax", "strict"]


@dataclass
class Jar:
    """The cookies of one response. Served by TLS, each is Secure and bound to this host by its name's prefix."""

    secure: bool
    _response: Response = field(default_factory=Response)

    def named(self, name: str) -> str:
        return f"__Host-pressroom_{name}" if self.secure else f"pressroom_{name}"

    def set(self, name: str, value: str, *, same_site: SameSite = "lax", seconds: int | None = None) -> None:
        """Without `seconds` it ends with the browser."""
        self._response.set_cookie(
            self.named(name), value, max_age=seconds, path="/", secure=self.secure, httponly=True, samesite=same_site
        )

    def drop(self, name: str) -> None:
        self.set(name, "", seconds=0)

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The last word about each cookie."""
        last: dict[bytes, tuple[bytes, bytes]] = {}
        for header, value in self._response.raw_headers:
            if header == b"set-cookie":
                last[value.split(b"=", 1)[0]] = (header, value)
        return list(last.values())


def jar_of(request: HTTPConnection) -> Jar:
    jar: Jar = request.state.jar
    return jar


def read(request: HTTPConnection, name: str) -> str | None:
    return request.cookies.get(jar_of(request).named(name))


class CookieMiddleware:
    """Gives each request its jar, and the response what is in it. A WebSocket reads cookies and is given none."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        jar = Jar(secure=scope["scheme"] in ("https", "wss"))
        scope.setdefault("state", {})["jar"] = jar

        async def send_with_cookies(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                message["headers"] = [*message.get("headers", []), *jar.headers()]
            await send(message)

        await self._app(scope, receive, send_with_cookies)
