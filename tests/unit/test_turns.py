"""The loop of a stage, without a database: when it looks again for what an earlier stage makes."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from lib.monitoring import nudges, turns
from lib.monitoring.items import ProcessRef, Wait
from lib.monitoring.turns import Outcome, Turns

PROCESS = ProcessRef(uuid4(), "watch")


@dataclass(frozen=True)
class Item:
    name: str
    is_last: bool = False


class Stage:
    """A generation whose upstream is at work until `upstream` says no."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, poll: float) -> None:
        self.items: list[Item] = []
        self.upstream = True
        self.looks = 0
        monkeypatch.setattr(turns, "POLL", poll)
        monkeypatch.setattr(Turns, "_upstream_runs", self._upstream_runs)

    async def _upstream_runs(self) -> bool:
        return self.upstream

    async def take(self) -> Item | Wait | None:
        self.looks += 1
        return self.items.pop() if self.items else None

    async def do(self, _: Item) -> Outcome:
        return Outcome(done=1)

    def turns(self) -> Turns[Item]:
        return Turns("generation", PROCESS, self.take, self.do, asyncio.Semaphore(1))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_what_an_earlier_stage_makes_is_taken_at_once_and_its_end_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, poll=60)
    running = asyncio.create_task(stage.turns().run())
    await until(lambda: stage.looks == 1)
    stage.items.append(Item("an article"))
    nudges.made("preparation", [uuid4()])
    await asyncio.sleep(0.05)
    assert stage.looks == 1
    nudges.made("preparation", [PROCESS.id])
    await until(lambda: not stage.items)
    with nudges.serving(PROCESS.id, "discovery"):
        assert not nudges.upstream_runs(PROCESS.id, "generation")
    with nudges.serving(PROCESS.id, "preparation"):
        await asyncio.sleep(0.05)
        assert not running.done()
        stage.upstream = False
    async with asyncio.timeout(10):
        assert (await running).done == 1


async def test_where_the_earlier_stage_runs_here_it_waits_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, poll=0.01)
    with nudges.serving(PROCESS.id, "preparation"):
        running = asyncio.create_task(stage.turns().run())
        await asyncio.sleep(0.5)
        assert stage.looks == 1
        assert nudges.upstream_runs(PROCESS.id, "posting")
        assert not nudges.upstream_runs(uuid4(), "generation")
        stage.upstream = False
    async with asyncio.timeout(10):
        assert (await running).done == 0
    assert not nudges.upstream_runs(PROCESS.id, "generation")


async def test_what_is_done_wakes_nobody_while_others_are_at_work(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, let_go = Stage(monkeypatch, poll=60), asyncio.Semaphore(0)
    stage.items, stage.upstream = [Item("first"), Item("second"), Item("third")], False

    async def do(item: Item) -> Outcome:
        await let_go.acquire()
        return Outcome(retried=1, error="again") if item.name == "second" else Outcome(done=1)

    running = asyncio.create_task(Turns("generation", PROCESS, stage.take, do, asyncio.Semaphore(3)).run())
    await until(lambda: stage.looks == 3)
    let_go.release()
    await until(lambda: stage.looks == 4)  # its slot was free again
    await asyncio.sleep(0.05)
    assert stage.looks == 4
    stage.items.append(Item("comes back"))
    let_go.release()
    await until(lambda: stage.looks == 6)
    let_go.release()
    let_go.release()
    async with asyncio.timeout(10):
        report = await running
    assert (report.done, report.retried, stage.looks) == (3, 1, 7)


async def test_what_was_taken_as_the_last_is_followed_by_no_look_until_there_is_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stage = Stage(monkeypatch, poll=60)
    stage.items.append(Item("an article", is_last=True))
    with nudges.serving(PROCESS.id, "preparation"):
        running = asyncio.create_task(stage.turns().run())
        await until(lambda: not stage.items)
        await asyncio.sleep(0.05)
        assert stage.looks == 1
        stage.items.append(Item("another", is_last=True))
        nudges.made("preparation", [PROCESS.id])
        await until(lambda: not stage.items)
        await asyncio.sleep(0.05)
        assert stage.looks == 2
        stage.upstream = False
    async with asyncio.timeout(10):
        assert (await running).done == 2
    assert stage.looks == 3  # when nothing more comes, one more


async def test_while_the_last_is_at_work_there_is_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, let_go = Stage(monkeypatch, poll=60), asyncio.Event()
    stage.items, stage.upstream = [Item("an article", is_last=True)], False

    async def do(_: Item) -> Outcome:
        await let_go.wait()
        return Outcome(done=1)

    running = asyncio.create_task(Turns("generation", PROCESS, stage.take, do, asyncio.Semaphore(2)).run())
    await until(lambda: not stage.items)
    await asyncio.sleep(0.05)
    assert stage.looks == 1
    let_go.set()
    async with asyncio.timeout(10):
        assert (await running).done == 1
    assert stage.looks == 2


async def test_without_a_word_it_looks_by_itself_and_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(monkeypatch, poll=0.01)
    running = asyncio.create_task(stage.turns().run())
    await until(lambda: stage.looks >= 4)
    stage.items.append(Item("an article"))
    await until(lambda: not stage.items)
    stage.upstream = False
    async with asyncio.timeout(10):
        assert (await running).done == 1
    assert stage.looks < 20


async def test_whoever_listens_for_no_process_is_told_of_what_nobody_else_takes() -> None:
    with nudges.listening(None, "generation") as any_of_them:
        with nudges.listening(PROCESS.id, "generation") as own:
            nudges.made("preparation", [PROCESS.id])
            assert own.is_set()
            assert not any_of_them.is_set()
            nudges.made("preparation", [PROCESS.id, uuid4()])
            assert any_of_them.is_set()
        any_of_them.clear()
        nudges.made("preparation", [PROCESS.id])
        assert any_of_them.is_set()
        any_of_them.clear()
        nudges.made("generation", [PROCESS.id])
        with nudges.serving(PROCESS.id, "preparation"):
            pass
        assert not any_of_them.is_set()
