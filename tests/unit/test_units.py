"""What is observed of a function, told by an observer that only listens."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest

from lib import units
from lib.units import Failure, Unit, failed, observed


@dataclass
class Listener:
    """Notes what it is told, as words and units."""

    told: list[tuple[str, Unit]] = field(default_factory=list)
    arguments: list[dict[str, Any]] = field(default_factory=list)
    ends: dict[UUID, BaseException | Failure | None] = field(default_factory=dict)

    def opened(self, _: Unit, arguments: Mapping[str, Any]) -> None:
        self.arguments.append(dict(arguments))

    def waits(self, unit: Unit) -> None:
        self.told.append(("waits", unit))

    def began(self, unit: Unit) -> None:
        self.told.append(("began", unit))

    def ended(self, unit: Unit, failure: BaseException | Failure | None, seconds: float) -> None:
        assert seconds >= 0
        self.told.append(("ended", unit))
        self.ends[unit.id] = failure

    @property
    def words(self) -> list[str]:
        return [f"{word} {unit.name}" for word, unit in self.told]

    def unit(self, name: str) -> Unit:
        return next(unit for _, unit in self.told if unit.name == name)

    def end_of(self, name: str) -> BaseException | Failure | None:
        return self.ends[self.unit(name).id]


@pytest.fixture
def listener() -> Iterator[Listener]:
    listening = Listener()
    units.observe_with(lambda: listening)
    yield listening
    units.observe_with(None)


@dataclass(frozen=True)
class Item:
    title: str = "Red Pandas"
    process_id: UUID = field(default_factory=uuid4)
    owner_id: UUID = field(default_factory=uuid4)
    item_id: UUID = field(default_factory=uuid4)
    attempt: int = 3


@observed()
async def _look_up(word: str) -> str:
    return word


@observed(kind=None, run_name="write “{item.title}”")
async def write(item: Item, *, loud: bool = False) -> str:
    return await _look_up("loud" if loud else item.title)


async def test_without_an_observer_a_function_is_called_as_it_is() -> None:
    units.observe_with(None)
    assert await write(Item()) == "Red Pandas"
    assert units.current() is None


async def test_a_unit_begins_and_ends_and_the_one_within_it_is_its_child(listener: Listener) -> None:
    item = Item()
    assert await write(item, loud=True) == "loud"
    assert listener.words == ["began write", "began look_up", "ended look_up", "ended write"]
    outer, inner = listener.unit("write"), listener.unit("look_up")
    assert (outer.kind, inner.kind) == ("item", "step")
    assert inner.parent_id == outer.id
    for unit in (outer, inner):
        assert (unit.process_id, unit.owner_id) == (item.process_id, item.owner_id)
        assert (unit.item_id, unit.attempt) == (item.item_id, 3)
    assert outer.run_name == "write “Red Pandas”"
    assert listener.end_of("write") is None


async def test_arguments_keep_their_names_however_they_are_passed(listener: Listener) -> None:
    item = Item()
    await write(item, loud=True)
    assert listener.arguments[0] == {"item": item, "loud": True}

    class Clerk:
        @observed()
        async def file(self, paper: str, drawer: int) -> None:
            """Nothing."""

    await Clerk().file("letter", drawer=2)
    assert listener.arguments[-1] == {"paper": "letter", "drawer": 2}


async def test_an_error_ends_the_unit_and_goes_on(listener: Listener) -> None:
    @observed()
    async def stumble() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await stumble()
    assert isinstance(listener.end_of("stumble"), ValueError)
    assert units.current() is None


async def test_an_error_that_is_handed_over_counts_although_a_value_is_returned(listener: Listener) -> None:
    trouble = ValueError("expected")

    @observed()
    async def cope() -> str:
        failed(trouble)
        return "fine"

    assert await cope() == "fine"
    assert listener.end_of("cope") is trouble


@dataclass(frozen=True)
class Outcome:
    error: str | None = None
    errors: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Outcome(), None),
        (Outcome("it rained"), Failure("Outcome", "it rained")),
        (Outcome(errors=("a", "b")), Failure("Outcome", "a; b")),
        (Outcome(errors=("a", "b", "c", "d", "e")), Failure("Outcome", "a; b; c; and 2 more")),
        ("error", None),
        (None, None),
    ],
)
async def test_a_value_that_tells_of_a_failure_is_one(listener: Listener, value: Any, told: Failure | None) -> None:
    @observed()
    async def work() -> Any:
        return value

    await work()
    assert listener.end_of("work") == told


async def test_a_cancelled_unit_ends(listener: Listener) -> None:
    @observed()
    async def wait() -> None:
        await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(listener.end_of("wait"), asyncio.CancelledError)


async def test_units_at_once_do_not_take_each_other_for_a_parent(listener: Listener) -> None:
    await asyncio.gather(*(write(Item(title)) for title in ("a", "b", "c")))
    parents = {unit.id: unit for _, unit in listener.told if unit.name == "write"}
    assert all(unit.parent_id is None for unit in parents.values())
    assert sorted(
        unit.parent_id for word, unit in listener.told if (word, unit.name) == ("began", "look_up")
    ) == sorted(parents)


async def test_one_that_waits_begins_with_its_body_and_a_retry_is_another(listener: Listener) -> None:
    seen = units.observer()
    assert seen is not None
    item = Item()
    waiting = units.open_unit(seen, "write", {"item": item})
    with units.Waiting(seen, waiting):
        assert listener.words == ["waits write"]
        await write(item)
        await write(item)
    began = [unit for word, unit in listener.told if (word, unit.name) == ("began", "write")]
    assert began[0] is waiting
    assert began[1].id != waiting.id
    assert listener.words.count("ended write") == 2


async def test_one_that_never_begins_ends_all_the_same(listener: Listener) -> None:
    seen = units.observer()
    assert seen is not None
    waiting = units.open_unit(seen, "late", {})
    with pytest.raises(TimeoutError), units.Waiting(seen, waiting):
        raise TimeoutError
    assert listener.words == ["waits late", "began late", "ended late"]
    assert isinstance(listener.end_of("late"), TimeoutError)


def test_a_block_is_a_unit_too(listener: Listener) -> None:
    with units.unit("sort", kind="step", run_name="sort {number} letters", number=3):
        assert units.current() is not None
    assert listener.words == ["began sort", "ended sort"]
    assert listener.unit("sort").run_name == "sort 3 letters"


class Grumpy:
    @property
    def process_id(self) -> UUID:
        raise RuntimeError("not today")


async def test_an_argument_that_cannot_be_looked_at_does_not_reach_the_work(listener: Listener) -> None:
    @observed(run_name="{what.nothing}")
    async def work(what: Grumpy) -> str:  # noqa: ARG001 - is looked at
        return "done"

    assert await work(Grumpy()) == "done"
    assert listener.words == ["began work", "ended work"]


async def test_an_observer_that_cannot_start_leaves_the_work_unobserved() -> None:
    def start() -> None:
        raise OSError("no thread to be had")

    units.observe_with(start)
    try:
        assert await write(Item()) == "Red Pandas"
    finally:
        units.observe_with(None)
