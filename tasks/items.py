"""How an item's task is called: as a task run that Prefect shows, or plainly, for bulk work."""

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from prefect import Task

from lib.monitoring.runtime import runtime

P = ParamSpec("P")
R = TypeVar("R")


def as_item_run(task: Task[P, Coroutine[Any, Any, R]]) -> Callable[P, Coroutine[Any, Any, R]]:
    """The task itself, or its function with PRESSROOM_ITEM_TASK_RUNS=false."""
    return task if runtime().settings.item_task_runs else task.fn
