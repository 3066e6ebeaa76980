"""Units of work, as they are observed: a flow run, a stage of a process, an item, a step within one.

Whoever does the work says nothing of it. A decorated function opens its unit, marks its beginning and its end, and
hands them to the process's observer; without one it is called as it is. Nothing here waits, and nothing that goes
wrong in the observing reaches the work.

Whose a unit is goes by convention: an argument named `process_id`, `owner_id`, `item_id` or `attempt`, or one that has
such an attribute, says it. What no argument says comes from the unit around it: the process, the owner and the flow
run; within an item, the item and its attempt too.
"""

import functools
import time
from collections.abc import Callable, Coroutine, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, ParamSpec, Protocol, Self, TypeVar

import structlog
import uuid_utils.compat

P = ParamSpec("P")
R = TypeVar("R")
Kind = Literal["flow", "stage", "item", "step"]

log = structlog.get_logger()

_PLAIN = (str, int, float, bytes, type(None), tuple, list, dict)
ERRORS_TOLD = 3


@dataclass(frozen=True)
class Failure:
    """A failure without an exception: its type's name and its sentence."""

    type: str
    message: str


class Unit:
    """One unit of work. `created` and `started` are Unix seconds; ids are as their makers gave them."""

    __slots__ = (
        "attempt",
        "clock",
        "created",
        "failure",
        "flow_run_id",
        "id",
        "item_id",
        "kind",
        "name",
        "owner_id",
        "parent_id",
        "process_id",
        "row",
        "run_name",
        "started",
        "task_id",
        "waited",
    )

    def __init__(self, name: str, parent: "Unit | None") -> None:
        self.id = uuid_utils.compat.uuid7()
        self.name = name
        self.kind: Kind = "step"
        self.created, self.clock = time.time(), time.perf_counter()
        self.started: float | None = None
        self.waited = False
        self.run_name = ""
        self.task_id: Any = None
        self.attempt: int | None = None
        self.process_id: Any = None
        self.owner_id: Any = None
        self.flow_run_id: Any = None
        self.item_id: Any = None
        self.parent_id: Any = None
        self.failure: BaseException | Failure | None = None
        self.row: Any = None  # what the observer keeps of it
        if parent is not None:
            self.parent_id = parent.id
            self.process_id = parent.process_id
            self.owner_id = parent.owner_id
            self.flow_run_id = parent.flow_run_id
            self.item_id = parent.item_id
            self.attempt = parent.attempt if parent.item_id is not None else None


class Observer(Protocol):
    """Is told of every unit, from any thread. It never waits and never raises.

    `waits`: it is some time until the unit begins. `seconds`: how long it ran.
    """

    def opened(self, unit: Unit, arguments: Mapping[str, Any]) -> None: ...
    def waits(self, unit: Unit) -> None: ...
    def began(self, unit: Unit) -> None: ...
    def ended(self, unit: Unit, failure: BaseException | Failure | None, seconds: float) -> None: ...


_current: ContextVar[Unit | None] = ContextVar("unit", default=None)
_awaited: ContextVar[Unit | None] = ContextVar("awaited_unit", default=None)
_observer: Observer | None = None
_starter: Callable[[], Observer | None] | None = None


def observe_with(starter: Callable[[], Observer | None] | None) -> None:
    """Who makes the observer when the first unit comes; None: nobody observes."""
    global _starter, _observer
    _observer, _starter = None, starter


def observer() -> Observer | None:
    """The process's observer, made now if this is its first unit."""
    global _starter, _observer  # noqa: PLW0603
    if _starter is not None:
        start, _starter = _starter, None
        try:
            _observer = start()
        except Exception as error:  # noqa: BLE001 - the work goes on unobserved
            log.warning("units_not_observed", error=f"{type(error).__name__}: {error}")
    return _observer


def current() -> Unit | None:
    """The unit that we are in."""
    return _current.get()


def failed(error: BaseException) -> None:
    """The unit that we are in has failed, though this error ends here and what is returned is a value."""
    unit = _current.get()
    if unit is not None:
        unit.failure = error


def names_of(function: Callable[..., Any]) -> tuple[str, ...]:
    """The names of a function's parameters, in their order."""
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def by_name(names: tuple[str, ...], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by their names, without `self`."""
    found = dict(zip(names, args, strict=False))
    found.update(kwargs)
    found.pop("self", None)
    return found


def open_unit(
    seen: Observer,
    name: str,
    arguments: Mapping[str, Any],
    kind: Kind | None = None,
    run_name: str | None = None,
) -> Unit:
    """A unit that has not begun. Without a kind it gets one by what it works on and where.

    `run_name`: what a person recognises, with the arguments' names in braces; the function's name without one.
    """
    parent = _current.get()
    unit = Unit(name, parent)
    own_item = False
    try:
        own_item = _say_whose(unit, arguments)
        unit.run_name = run_name.format(**arguments) if run_name else name
    except Exception:  # noqa: BLE001 - an argument that cannot be looked at: the work itself may never do so
        unit.run_name = unit.run_name or run_name or name
    unit.kind = kind or _kind(unit, parent, own_item=own_item)
    seen.opened(unit, arguments)
    return unit


def _say_whose(unit: Unit, arguments: Mapping[str, Any]) -> bool:
    """Whether an argument says which item it is."""
    item: Any = None
    for name, value in arguments.items():
        if value is None:
            continue
        if name == "process_id":
            unit.process_id = value
        elif name == "owner_id":
            unit.owner_id = value
        elif name == "item_id":
            item = value
        elif name == "attempt":
            unit.attempt = value
        elif not isinstance(value, _PLAIN):
            unit.process_id = getattr(value, "process_id", None) or unit.process_id
            unit.owner_id = getattr(value, "owner_id", None) or unit.owner_id
            item = getattr(value, "item_id", None) or item
            unit.attempt = getattr(value, "attempt", None) or unit.attempt
    unit.item_id = item or unit.item_id
    return item is not None


def _kind(unit: Unit, parent: Unit | None, *, own_item: bool) -> Kind:
    inside = parent.kind if parent is not None else None
    if inside in ("item", "step"):
        return "step"
    if own_item or inside == "stage":
        return "item"
    return "stage" if unit.process_id is not None else "step"


class Waiting:
    """Around a call whose body begins later, and may begin more than once or never: `with Waiting(seen, unit):`.

    `never`: what it means that it did not begin and nothing was raised; by itself, that its result was there already.
    """

    def __init__(self, seen: Observer, unit: Unit, never: Failure | None = None) -> None:
        self._never = never
        self._seen = seen
        self._unit = unit
        self._token: Token[Unit | None] | None = None

    def __enter__(self) -> Unit:
        self._token = _awaited.set(self._unit)
        self._unit.waited = True
        self._seen.waits(self._unit)
        return self._unit

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if self._token is not None:
            _awaited.reset(self._token)
        if self._unit.started is None:
            begin(self._seen, self._unit)
            end(self._seen, self._unit, error or self._never)


def awaited(name: str) -> Unit | None:
    """The unit of this name that was opened around us and has not begun."""
    unit = _awaited.get()
    return unit if unit is not None and unit.started is None and unit.name == name else None


def begin(seen: Observer, unit: Unit) -> None:
    if unit.waited:
        unit.started, unit.clock = time.time(), time.perf_counter()
    else:
        unit.started = unit.created
    seen.began(unit)


def end(seen: Observer, unit: Unit, failure: BaseException | Failure | None) -> None:
    """With what was noted as its failure, unless another is given."""
    failure, unit.failure = failure or unit.failure, None
    seen.ended(unit, failure, time.perf_counter() - unit.clock)


class Running:
    """Around the body: `with Running(seen, unit) as body:`. `failure`: what its value tells of."""

    def __init__(self, seen: Observer, unit: Unit) -> None:
        self._seen = seen
        self._unit = unit
        self._token: Token[Unit | None] | None = None
        self.failure: Failure | None = None

    def __enter__(self) -> Self:
        begin(self._seen, self._unit)
        self._token = _current.set(self._unit)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: TracebackType | None) -> None:
        if self._token is not None:
            _current.reset(self._token)
        end(self._seen, self._unit, error or self._unit.failure or self.failure)


def told_by(value: Any) -> Failure | None:
    """The failure that a value tells of, by a truthy `error`, or by `errors`."""
    if isinstance(value, _PLAIN):
        return None
    try:
        error, errors = getattr(value, "error", None), getattr(value, "errors", None)
        if error:
            return Failure(type(value).__name__, str(error))
        if errors and isinstance(errors, tuple | list):
            shown = "; ".join(str(each) for each in errors[:ERRORS_TOLD])
            more = len(errors) - ERRORS_TOLD
            return Failure(type(value).__name__, f"{shown}; and {more} more" if more > 0 else shown)
    except Exception:  # noqa: BLE001 - a value that cannot be looked at tells nothing
        return None
    return None


class unit:  # noqa: N801 - used as a word: `with unit("look up", kind="step", name=name):`
    """Observe what a block does. Without an observer it does nothing."""

    def __init__(self, name: str, *, kind: Kind | None = None, run_name: str | None = None, **parameters: Any) -> None:
        self._name = name
        self._kind = kind
        self._run_name = run_name
        self._parameters = parameters
        self._running: Running | None = None

    def __enter__(self) -> None:
        seen = observer()
        if seen is not None:
            opened = open_unit(seen, self._name, self._parameters, self._kind, self._run_name)
            self._running = Running(seen, opened).__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.__exit__(kind, error, trace)


Async = Callable[P, Coroutine[Any, Any, R]]


def observed(
    kind: Kind | None = "step",
    name: str | None = None,
    run_name: str | None = None,
    identify: Callable[[Unit, Callable[..., Any]], None] | None = None,
    failure_in: Callable[[Any], Failure | None] | None = None,
) -> Callable[[Async[P, R]], Async[P, R]]:
    """Observe every call of an async function. The name is the function's own, without leading underscores.

    `identify` is told of a unit before it begins, with the decorated function, and may set its ids. `failure_in`
    finds the failure that a value tells of.
    """

    def decorate(function: Async[P, R]) -> Async[P, R]:
        names, called = names_of(function), name or function.__name__.lstrip("_")

        @functools.wraps(function)
        async def observing(*args: P.args, **kwargs: P.kwargs) -> R:
            seen = observer()
            if seen is None:
                return await function(*args, **kwargs)
            this = awaited(called) or open_unit(seen, called, by_name(names, args, kwargs), kind, run_name)
            if identify is not None:
                identify(this, observing)
            with Running(seen, this) as body:
                result = await function(*args, **kwargs)
                body.failure = (failure_in or told_by)(result)
            return result

        return observing

    return decorate
