"""Within one worker: a stage that has made something wakes the next one, which by itself would look a little later.

A hint and no more. What it wakes looks into the database, and whoever hears nothing looks there too, only later.
Who knows that an earlier stage runs here need not ask the database whether it does, and may look the more seldom.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Literal, Protocol
from uuid import UUID
from weakref import WeakKeyDictionary

from lib.monitoring.stages import Stage, after, upstream

Key = tuple[UUID | None, Stage] | Literal["runs", "ticks"]


class Ear(asyncio.Event):
    """`news`: something was made; it may be set without, to wake who waits for what will not come."""

    news = False

    def tell(self) -> None:
        self.news = True
        self.set()

    def hear(self) -> bool:
        """Whether there were news since the last time."""
        news, self.news = self.news, False
        self.clear()
        return news


class Tick(Protocol):
    """One that may claim further processes after its first ones."""

    @property
    def takes(self) -> bool:
        """It claims what waits now, and needs no other tick beside it."""

    def tell(self, process_id: UUID) -> bool:
        """Have it claim what waits; return whether it may claim that of this process."""


# By event loop, since an event belongs to one.
_listeners = WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Key, set[Ear]]]()
_ticking = Counter[Stage]()
_catching_up = defaultdict[Stage, list[Tick]](list)
_serving = Counter[tuple[UUID, Stage]]()


@contextmanager
def listening(process_id: UUID | None, stage: Stage) -> Iterator[Ear]:
    """The event is set when an earlier stage of the process has made something, without news when it has ended.

    Without a process, when the stage before has made something of one that nobody here listens for.
    """
    with _listening((process_id, stage)) as event:
        yield event


@contextmanager
def polling() -> Iterator[Ear]:
    """The event is set when somebody here has asked Prefect for a run, which need not wait for the next poll."""
    with _listening("runs") as event:
        yield event


def asked_for_a_run() -> None:
    _wake("runs")


def is_polling() -> bool:
    """Whether runs that are asked for may come to be here."""
    return "runs" in _listeners.get(asyncio.get_running_loop(), {})


@contextmanager
def ticking(stage: Stage) -> Iterator[None]:
    """While the block runs a tick of the stage is here, which takes what is made for it."""
    _ticking[stage] += 1
    _wake("ticks")
    try:
        yield
    finally:
        _ticking[stage] -= 1


def is_ticking(stage: Stage) -> bool:
    return _ticking[stage] > 0


async def tick_begun(stage: Stage) -> None:
    """Return when a tick of the stage is here."""
    with _listening("ticks") as begun:
        while not is_ticking(stage):
            await begun.wait()
            begun.clear()


@contextmanager
def catching_up(stage: Stage, tick: Tick) -> Iterator[None]:
    """The block runs this tick of the stage, which may take what waits for it."""
    _catching_up[stage].append(tick)
    try:
        yield
    finally:
        _catching_up[stage].remove(tick)


def is_latest(stage: Stage, tick: Tick) -> bool:
    """No tick of the stage began here after this one."""
    return _catching_up[stage][-1:] == [tick]


def is_catching_up(stage: Stage) -> bool:
    """A tick of the stage here takes what waits for it, and needs no other."""
    return any(tick.takes for tick in _catching_up[stage])


def tell_ticks(stage: Stage, process_id: UUID) -> bool:
    """Have a tick of the stage here claim what waits; return whether one may claim that of this process."""
    return any(tick.tell(process_id) for tick in _catching_up[stage])


def made(stage: Stage, process_ids: Iterable[UUID]) -> None:
    """The stage has made something of these processes: the next one may take it."""
    for following, process_id in product(after(stage)[:1], process_ids):
        if not _wake((process_id, following)):
            _wake((None, following))


@contextmanager
def serving(process_id: UUID, stage: Stage) -> Iterator[None]:
    """While the block runs the stage works for the process; in its end, whoever waited for more of it need not."""
    _serving[process_id, stage] += 1
    try:
        yield
    finally:
        _serving[process_id, stage] -= 1
        if not _serving[process_id, stage]:
            del _serving[process_id, stage]
        for following in after(stage):
            if stage in upstream(following):
                _wake((process_id, following), news=False)


def upstream_runs(process_id: UUID, stage: Stage) -> bool:
    """Whether this worker runs a stage from which more may come; another worker may."""
    return any(_serving[process_id, earlier] for earlier in upstream(stage))


@contextmanager
def _listening(key: Key) -> Iterator[Ear]:
    here, event = _listeners.setdefault(asyncio.get_running_loop(), {}), Ear()
    here.setdefault(key, set()).add(event)
    try:
        yield event
    finally:
        here[key].discard(event)
        if not here[key]:
            del here[key]


def _wake(key: Key, *, news: bool = True) -> bool:
    listeners = _listeners.get(asyncio.get_running_loop(), {}).get(key, set())
    for ear in listeners:
        ear.tell() if news else ear.set()
    return bool(listeners)
