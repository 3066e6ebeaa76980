"""Within one worker: a stage that has made something wakes the next one, which by itself would look a little later.

A hint and no more. What it wakes looks into the database, and whoever hears nothing looks there too, only later.
Who knows that an earlier stage runs here need not ask the database whether it does, and may look the more seldom.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import product
from uuid import UUID
from weakref import WeakKeyDictionary

from lib.monitoring.stages import Stage, after, upstream

# By event loop, since an event belongs to one.
_listeners = WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[UUID | None, Stage], set[asyncio.Event]]]()
_catching_up = Counter[Stage]()
_serving = Counter[tuple[UUID, Stage]]()


@contextmanager
def listening(process_id: UUID | None, stage: Stage) -> Iterator[asyncio.Event]:
    """The event is set when an earlier stage of the process has made something or has ended.

    Without a process, when the stage before has made something of one that nobody here listens for.
    """
    here = _listeners.setdefault(asyncio.get_running_loop(), {})
    event, key = asyncio.Event(), (process_id, stage)
    here.setdefault(key, set()).add(event)
    try:
        yield event
    finally:
        here[key].discard(event)
        if not here[key]:
            del here[key]


@contextmanager
def catching_up(stage: Stage) -> Iterator[None]:
    """While the block runs: a tick of the stage takes what waits for it, process by process, and needs no other."""
    _catching_up[stage] += 1
    try:
        yield
    finally:
        _catching_up[stage] -= 1


def is_catching_up(stage: Stage) -> bool:
    return _catching_up[stage] > 0


def made(stage: Stage, process_ids: Iterable[UUID]) -> None:
    """The stage has made something of these processes: the next one may take it."""
    for following, process_id in product(after(stage)[:1], process_ids):
        if not _wake(following, process_id):
            _wake(following, None)


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
                _wake(following, process_id)


def upstream_runs(process_id: UUID, stage: Stage) -> bool:
    """Whether this worker runs a stage from which more may come; another worker may."""
    return any(_serving[process_id, earlier] for earlier in upstream(stage))


def _wake(stage: Stage, process_id: UUID | None) -> bool:
    listeners = _listeners.get(asyncio.get_running_loop(), {}).get((process_id, stage), set())
    for event in listeners:
        event.set()
    return bool(listeners)
