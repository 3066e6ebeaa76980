"""The playground on a loopback port: for the command, and for tests inside their own process."""

import asyncio
import contextlib
import errno
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import uvicorn
from starlette.applications import Starlette

from playground.app import create_app
from playground.config import Config
from playground.faults.wire import Protocol
from playground.store import Clock, utc_now

HOST = "127.0.0.1"
_BACKLOG = 2048


class PortTakenError(RuntimeError):
    """Something else listens on the port."""


@dataclass(frozen=True)
class Running:
    """A playground that serves."""

    url: str

    @property
    def llm_url(self) -> str:
        return f"{self.url}/llm/v1"


class Server(uvicorn.Server):
    """A server that leaves the process's signals to whoever runs it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def listen(port: int) -> socket.socket:
    # The protocol is named because asyncio turns off Nagle's delay, 40 ms an answer, only where it is.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"Port {port} is taken by another program.") from error
        raise
    listener.listen(_BACKLOG)
    return listener


def server_of(app: Starlette) -> Server:
    return Server(
        uvicorn.Config(
            app,
            http=Protocol,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_graceful_shutdown=1,
        )
    )


@contextlib.contextmanager
def serving(config: Config, clock: Clock = utc_now) -> Iterator[Running]:
    """Serve in a thread of this process, so that blocking clients can be used as well."""
    listener = listen(config.port)
    server = server_of(create_app(config, clock))
    thread = threading.Thread(target=server.run, args=([listener],), name="playground", daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("The playground did not start; its log says why.")
            time.sleep(0.005)
        yield Running(f"http://{HOST}:{listener.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join()


@contextlib.asynccontextmanager
async def running(config: Config, clock: Clock = utc_now) -> AsyncIterator[Running]:
    """The same for asynchronous callers, whose event loop goes on meanwhile."""
    stack = contextlib.ExitStack()
    try:
        yield await asyncio.to_thread(stack.enter_context, serving(config, clock))
    finally:
        await asyncio.to_thread(stack.close)
