"""The house's `task` and `flow`: Prefect's own, with the same options, and every call leaves a record.

A task's unit waits from its call on, for a slot if need be, and runs while its function does; so does that of a flow,
which the in-process worker opens when it takes a run up. A retry is a unit of its own. A cancelled unit has failed,
with the type Cancelled. What a record says of the end is how the function ended, not what Prefect made of it, except
where a flow returns a failed state itself.
"""

import inspect
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, cast, overload

from prefect import Flow, State, Task
from prefect.context import FlowRunContext, TaskRunContext

from lib import units
from lib.units import Kind, Unit

P = ParamSpec("P")
R = TypeVar("R")
Async = Callable[P, Coroutine[Any, Any, R]]
NOT_ARGUMENTS = ("return_state", "wait_for")


class ObservedTask(Task[P, R]):
    """A task whose calls are observed from the moment they wait."""

    kind: Kind | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = super().__call__
        seen = units.observer()
        if seen is None:
            return call(*args, **kwargs)
        return self._observed(seen, call, args, kwargs)

    async def _observed(
        self, seen: units.Observer, call: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        named = units.by_name(units.names_of(inspect.unwrap(self.fn)), args, kwargs)
        for name in NOT_ARGUMENTS:
            named.pop(name, None)
        title = self.task_run_name if isinstance(self.task_run_name, str) else None
        unit = units.open_unit(seen, _name_of(self.fn), named, self.kind, title)
        with units.Waiting(seen, unit):
            return await call(*args, **kwargs)

    def with_options(self, **options: Any) -> "ObservedTask[P, R]":
        """As Prefect's; the copy is observed too."""
        made = super().with_options(**options)
        made.__class__ = ObservedTask
        made.task_key = self.task_key
        copy = cast("ObservedTask[P, R]", made)
        copy.kind = self.kind
        return copy


@overload
def task(function: Async[P, R], /) -> Task[P, Coroutine[Any, Any, R]]: ...


@overload
def task(*, kind: Kind | None = None, **options: Any) -> Callable[[Async[P, R]], Task[P, Coroutine[Any, Any, R]]]: ...


def task(function: Any = None, /, *, kind: Kind | None = None, **options: Any) -> Any:
    """An async function as a task, with Prefect's options. Raises TypeError for one that is not async.

    `kind` is found by what the task works on and where it runs, unless it is given.
    """

    def decorate(plain: Async[P, R]) -> Task[P, Coroutine[Any, Any, R]]:
        _must_be_async(plain)
        made: Any = ObservedTask(plain, **options)
        made.kind = kind
        # Only now: Prefect identifies a task by the source of its function.
        title = options.get("task_run_name")
        watch = units.observed(kind, run_name=title if isinstance(title, str) else None, identify=_of_task)
        made.fn = watch(plain)
        return cast("Task[P, Coroutine[Any, Any, R]]", made)

    return decorate if function is None else decorate(function)


@overload
def flow(function: Async[P, R], /) -> Flow[P, Coroutine[Any, Any, R]]: ...


@overload
def flow(**options: Any) -> Callable[[Async[P, R]], Flow[P, Coroutine[Any, Any, R]]]: ...


def flow(function: Any = None, /, **options: Any) -> Any:
    """An async function as a flow, with Prefect's options. Raises TypeError for one that is not async."""

    def decorate(plain: Async[P, R]) -> Flow[P, Coroutine[Any, Any, R]]:
        _must_be_async(plain)
        made: Any = Flow(plain, **options)
        made.fn = units.observed("flow", identify=_of_flow, failure_in=_failed_state)(plain)
        return cast("Flow[P, Coroutine[Any, Any, R]]", made)

    return decorate if function is None else decorate(function)


def _must_be_async(function: Callable[..., Any]) -> None:
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__qualname__} is not async, and would hold up every other run")


def _name_of(function: Callable[..., Any]) -> str:
    return function.__name__.lstrip("_")


def _of_task(unit: Unit, function: Callable[..., Any]) -> None:
    """The task run's id, unless the function was called without Prefect."""
    context = TaskRunContext.get()
    if context is not None and context.task.fn is function:
        unit.task_id = context.task_run.id
        _within(unit)


def _of_flow(unit: Unit, function: Callable[..., Any]) -> None:
    context = FlowRunContext.get()
    if context is not None and context.flow is not None and context.flow.fn is function:
        _within(unit)
        unit.task_id = unit.flow_run_id
        if context.flow_run is not None:
            unit.run_name = context.flow_run.name


def _within(unit: Unit) -> None:
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        unit.flow_run_id = context.flow_run.id


def _failed_state(value: Any) -> units.Failure | None:
    if isinstance(value, State):
        said = value.is_failed() or value.is_crashed()
        return units.Failure(value.name or "Failed", value.message or "no message") if said else None
    return units.told_by(value)


def _start() -> units.Observer | None:
    from lib.taskwatch import recorder  # noqa: PLC0415 - a flow's module is imported often and must be light

    return recorder.start()


units.observe_with(_start)
