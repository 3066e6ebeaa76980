"""Children: start, watch, start again with backoff, stop in order."""

import asyncio
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

from deployments.children import StartError

# Seconds before a child is started again.
FIRST_WAIT = 1.0
LONGEST_WAIT = 4.0
LONGEST_WAIT_UNSTARTED = 30.0  # of one that does not come up, which costs a start each time and gives nothing
SETTLED = 60.0  # a child that lived so long begins anew with the first wait


class Service(Protocol):
    """A child of the supervisor."""

    @property
    def name(self) -> str: ...

    @property
    def rank(self) -> int:
        """Higher ones stop first; equal ones together."""
        ...

    @property
    def pid(self) -> int | None: ...

    async def start(self) -> None:
        """Return when it can be used. Raises StartError."""
        ...

    async def ended(self) -> int:
        """Wait for its end; the exit status, negative for a signal."""
        ...

    async def stop(self) -> None:
        """Leave nothing of it running; also when it is not."""
        ...

    def kill(self) -> None: ...


def next_wait(before: float, lived: float | None) -> float:
    """How long to wait before a child is started again that could be used for so long; None: it did not come up."""
    if before == 0 or (lived is not None and lived >= SETTLED):
        return FIRST_WAIT
    return min(before * 2, LONGEST_WAIT_UNSTARTED if lived is None else LONGEST_WAIT)


def epitaph(status: int) -> str:
    if status >= 0:
        return f"ended with status {status}"
    return f"was killed by {signal.Signals(-status).name}"


class Supervisor:
    """`say` takes a component's name and a sentence; `changed` is called when a process has come or gone."""

    def __init__(self, say: Callable[[str, str], None], changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._services: list[Service] = []
        self._watches: list[asyncio.Task[None]] = []

    @property
    def services(self) -> tuple[Service, ...]:
        return tuple(self._services)

    async def start(self, service: Service) -> None:
        """Start it and keep it running. Raises StartError if the first start fails."""
        self._services.append(service)  # first, so that a stop meanwhile takes it along
        await service.start()
        self._changed()
        self._watches.append(asyncio.create_task(self._watch(service), name=f"watch {service.name}"))

    async def _watch(self, service: Service) -> None:
        wait = 0.0
        while True:
            began = time.monotonic()
            said = epitaph(await service.ended())
            wait = next_wait(wait, time.monotonic() - began)
            while True:
                self._say(service.name, f"{said}; starting it again in {wait:.0f} s")
                await asyncio.sleep(wait)
                try:
                    await service.start()
                    break
                except StartError as error:
                    said = f"did not start: {str(error).splitlines()[0]}"
                    wait = next_wait(wait, None)
            self._changed()
            self._say(service.name, f"runs again (process {service.pid})")

    async def stop(self) -> None:
        """Stop everything, the highest rank first."""
        for watch in self._watches:
            watch.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        ranks: defaultdict[int, list[Service]] = defaultdict(list)
        for service in self._services:
            ranks[service.rank].append(service)
        for rank in sorted(ranks, reverse=True):
            await asyncio.gather(*(service.stop() for service in ranks[rank]))

    def kill(self) -> None:
        for service in self._services:
            service.kill()
