"""The one way out: an HTTP client that checks where it goes and caps what it takes."""

import asyncio
import ipaddress
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache

import httpx

from lib.database import forbid_session
from lib.errors import Permanent, Refused, Transient

# Servers close an idle connection after 5 s or more; one used at that very moment would look like a dropped request.
CONNECTIONS = httpx.Limits(max_connections=100, keepalive_expiry=2)
USER_AGENT = "Pressroom/0.1"


@dataclass(frozen=True)
class Limits:
    """What one exchange may cost. `seconds` covers a connection or a pause; `total_seconds` the whole answer."""

    seconds: float = 30
    total_seconds: float = 60
    max_bytes: int = 5_000_000
    allow_private: bool = False
    private_setting: str = "PRESSROOM_ALLOW_PRIVATE_ADDRESSES"
    """Which setting an error names that refuses a private address."""


@cache
def trusted() -> ssl.SSLContext:
    """The certificates that we trust, read once: it takes 50 ms of the event loop, and every login has a client."""
    return httpx.create_ssl_context()


class GuardedTransport(httpx.AsyncBaseTransport):
    """Resolves the host once, refuses private addresses, connects to the address that it checked.

    Redirects are not followed here or in the client: whoever follows one comes back through this check.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._inner = httpx.AsyncHTTPTransport(retries=0, verify=trusted(), limits=CONNECTIONS)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        forbid_session(f"{request.method} {request.url.host}")
        host = request.url.host
        address = await self._checked_address(host, request.url.port or (443 if request.url.scheme == "https" else 80))
        request.extensions = {**request.extensions, "sni_hostname": host}
        response = await self._sent(request, address)
        if "location" in response.headers:
            # As browsers read it: a backslash in an address is a slash.
            response.headers["location"] = response.headers["location"].replace("\\", "/")
        if response.headers.get("content-encoding", "identity") != "identity":
            await response.aclose()
            raise Permanent(f"{host} sent a compressed answer that was not asked for")
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - narrows the type only
        response.stream = _CappedStream(response.stream, self._limits, host)
        return response

    async def _sent(self, request: httpx.Request, address: str) -> httpx.Response:
        asked = request.url
        if asked.host == address:
            return await self._inner.handle_async_request(request)
        request.url = asked.copy_with(host=address)
        response = await self._inner.handle_async_request(request)
        request.url = asked
        return response

    async def _checked_address(self, host: str, port: int) -> str:
        addresses = [host] if _is_address(host) else await _resolved(host, port)
        if not self._limits.allow_private:
            for address in addresses:
                if not is_public(address):
                    raise Refused(
                        f"{host} is a private address ({address}); set {self._limits.private_setting}=true "
                        "if it is meant"
                    )
        return addresses[0]

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _resolved(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is empty or too long
        raise httpx.ConnectError(f"{host} cannot be resolved: {error}") from error
    return [str(entry[4][0]) for entry in found]


def is_public(address: str) -> bool:
    """Whether an IP address is one of the open internet (no loopback, link-local, private, mapped ones)."""
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = ip.ipv4_mapped or ip.sixtofour or (ip.teredo[1] if ip.teredo else None)
        if embedded is not None:
            return embedded.is_global and not embedded.is_multicast
    return ip.is_global and not ip.is_multicast


class _CappedStream(httpx.AsyncByteStream):
    """An answer that ends in an error when it grows too large or comes too slowly."""

    def __init__(self, inner: httpx.AsyncByteStream, limits: Limits, host: str) -> None:
        self._inner = inner
        self._limits = limits
        self._host = host

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        deadline = time.monotonic() + self._limits.total_seconds
        async for chunk in self._inner:
            size += len(chunk)
            if size > self._limits.max_bytes:
                raise Permanent(f"{self._host} sent more than {self._limits.max_bytes:,} bytes")
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"{self._host} took longer than {self._limits.total_seconds:g} s")
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def client(limits: Limits) -> httpx.AsyncClient:
    """A guarded client. No redirects, no environment proxies, no compressed answers."""
    return httpx.AsyncClient(
        transport=GuardedTransport(limits),
        timeout=httpx.Timeout(limits.seconds),
        follow_redirects=False,
        trust_env=False,
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
    )


SERVER_ERRORS = 500
TOO_MANY = 429


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that the answer asks us to wait, from either form of Retry-After; capped at an hour."""
    value = response.headers.get("retry-after", "").strip()
    if not value:
        return None
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]*)?", value):
        return min(float(value), 3600.0)
    try:
        seconds = parsedate_to_datetime(value).timestamp() - time.time()
    except ValueError:
        return None
    return min(max(seconds, 0.0), 3600.0)


def raise_for_trouble(response: httpx.Response, what: str) -> None:
    """Translate a status: 429 and 5xx are Transient, 401 and 403 Refused, other 4xx Permanent."""
    status = response.status_code
    if status == TOO_MANY or status >= SERVER_ERRORS or status == httpx.codes.REQUEST_TIMEOUT:
        raise Transient(f"{what}: HTTP {status}", retry_after(response))
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise Refused(f"{what}: HTTP {status}")
    if status >= httpx.codes.BAD_REQUEST:
        raise Permanent(f"{what}: HTTP {status}")
