"""A Prefect worker that awaits flows in its own process: a tenth of what a process a run costs.

`prefect.flow_engine.run_flow` and the handling of a cancelled or suspended run are not documented API. Prefect is
pinned, and tests/integration/test_up.py fails when they move.

All runs share one event loop, which nobody may hold up. The engine does at three places, for as long as the server
takes to answer: it waits in the loop for an observer of suspensions, again for that observer's end, and it asks for the
default place of results. `_unobserved` and `_keeping_no_result` spare the loop these.
"""

import asyncio
import contextlib
import contextvars
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import anyio.abc
import httpx
from prefect import Flow
from prefect._flow_run_suspension import is_suspended_flow_run_state, mark_flow_run_suspension_requested
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.context import FlowRunContext
from prefect.exceptions import Abort, ObjectNotFound, Pause
from prefect.flow_engine import run_flow
from prefect.settings import get_current_settings
from prefect.states import Cancelled
from prefect.workers.base import BaseJobConfiguration, BaseVariables, BaseWorker, BaseWorkerResult

from deployments import definitions
from lib import units
from lib.monitoring import nudges

TO_LET_GO = 2.0  # seconds that a cancelled flow has before the server is told in any case
CANCELLING = (StateType.CANCELLING, StateType.CANCELLED)


@dataclass(frozen=True)
class _Running:
    flow_run: FlowRun
    task: asyncio.Task[Any]
    context: contextvars.Context

    def cancel(self, state: State[Any]) -> None:
        """The engine finds itself in a final state and lets go; otherwise it reports a crash, and alerts go out."""
        inner = self.context.run(FlowRunContext.get)
        for flow_run in (self.flow_run, inner.flow_run if inner is not None else None):
            if flow_run is not None:
                flow_run.state = state
        self.task.cancel()


async def _run(flow: Flow[..., Any], flow_run: FlowRun) -> Any:
    running: Any = run_flow(flow, flow_run=flow_run, return_type="state")  # of an async flow a coroutine
    return await running


def _noted(flow: Flow[..., Any], flow_run: FlowRun) -> contextlib.AbstractContextManager[object]:
    """Record that the run waits for the engine, from now until its function begins."""
    seen = units.observer()
    if seen is None:
        return contextlib.nullcontext()
    unit = units.open_unit(seen, flow.fn.__name__, flow_run.parameters, "flow")
    unit.task_id = unit.flow_run_id = flow_run.id
    unit.run_name = flow_run.name
    return units.Waiting(seen, unit, units.Failure("NotBegun", "It was ended before its function began"))


def _unobserved(flow_run: FlowRun) -> FlowRun:
    """A copy that the engine does not observe for suspensions: the worker looks for them with the cancellations.

    The engine observes the runs of deployments, and reads the run anew before its function begins.
    """
    return flow_run.model_copy(update={"deployment_id": None})


def _keeping_no_result(flow: Flow[..., Any]) -> Flow[..., Any]:
    """What a flow returns is in its state and in our records; the engine need not ask where else to keep it."""
    nowhere = get_current_settings().results.local_storage_path
    return flow.with_options(persist_result=False, result_storage=nowhere)


class NoInfrastructure(BaseJobConfiguration):
    """There is none to configure, so nothing is read for it."""

    @classmethod
    async def resolve_for_flow_run(cls, *_: Any, **__: Any) -> "NoInfrastructure":
        return cls()


class InProcessWorker(BaseWorker[NoInfrastructure, BaseVariables, BaseWorkerResult]):
    """Runs async flows. Keep it out of the main thread: there, the flow engine takes SIGTERM for itself."""

    type = "pressroom"
    job_configuration = NoInfrastructure

    def __init__(self, *, work_pool_name: str, name: str, limit: int, root: Path = definitions.ROOT) -> None:
        super().__init__(work_pool_name=work_pool_name, name=name, limit=limit, create_pool_if_not_found=False)
        self._root = root
        self._running: dict[UUID, _Running] = {}
        self._flows: dict[UUID, Flow[..., Any]] = {}

    @property
    def running(self) -> int:
        return len(self._running)

    async def run(
        self,
        flow_run: FlowRun,
        configuration: NoInfrastructure,  # noqa: ARG002
        task_status: anyio.abc.TaskStatus[int] | None = None,
    ) -> BaseWorkerResult:
        """Await the flow; its state is on the server when this returns."""
        flow, flow_run = await self._flow_of(flow_run), _unobserved(flow_run)
        wanted = await self._is_wanted_at_its_time(flow_run)
        if task_status is not None:
            task_status.started(flow_run.id.int)
        if wanted:
            with _noted(flow, flow_run):
                context = contextvars.copy_context()
                task = asyncio.create_task(_run(flow, flow_run), name=flow_run.name, context=context)
                self._running[flow_run.id] = _Running(flow_run, task, context)
                await self._awaited(flow_run, task)
        return BaseWorkerResult(identifier=self.name, status_code=0)

    async def _is_wanted_at_its_time(self, flow_run: FlowRun) -> bool:
        """Wait until a run that was fetched early is to begin; False when somebody cancelled or deleted it meanwhile.

        The server would let it run all the same. If its clock is behind, it tells the engine how long to wait.
        """
        at = flow_run.expected_start_time
        if at is None or (early := at.timestamp() - time.time()) <= 0:
            return True
        await asyncio.sleep(early)
        try:
            return (await self.client.read_flow_run(flow_run.id)).state_type == StateType.PENDING
        except ObjectNotFound:
            return False
        except httpx.HTTPError:  # the engine asks again, and more often
            return True

    async def _awaited(self, flow_run: FlowRun, task: asyncio.Task[Any]) -> None:
        try:
            await asyncio.wait({task})
            self._look_at(task)
        finally:
            task.cancel()
            del self._running[flow_run.id]

    async def get_and_submit_flow_runs(self) -> list[FlowRun]:
        """At each poll, first stop what somebody cancelled or suspended."""
        await self._stop_what_was_asked_for()
        return await super().get_and_submit_flow_runs()

    async def poll_when_asked(self) -> None:
        """Besides the polls at their interval: a run that was asked for in this process begins at once."""
        with nudges.polling() as asked:
            while await asked.wait():
                asked.clear()
                try:
                    await super().get_and_submit_flow_runs()
                except Exception as error:  # noqa: BLE001 - the next poll at the interval is soon
                    self._logger.warning("a run that was asked for waits for the next poll: %s", error)

    async def _submit_scheduled_flow_runs(self, flow_run_response: list[WorkerFlowRunResponse]) -> list[FlowRun]:
        """Polls cross: an answer may be older than what has begun since, and Prefect fails over a run that runs."""
        fresh = [each for each in flow_run_response if each.flow_run.id not in self._running]
        return await super()._submit_scheduled_flow_runs(fresh)

    async def _submit_run(self, flow_run: FlowRun) -> None:
        """A server that cannot answer just now costs a run its turn, not the worker its life."""
        try:
            if flow_run.deployment_id in self._flows:
                await self._submit_known(flow_run)
            else:
                await super()._submit_run(flow_run)
        except httpx.HTTPError as error:
            self._logger.warning("flow run %s is left for the next poll: %s", flow_run.id, error)
            self._submitting_flow_run_ids.discard(flow_run.id)
            self._release_limit_slot(flow_run.id)

    async def _submit_known(self, flow_run: FlowRun) -> None:
        """Prefect's own asks for the deployment once more and names an infrastructure, for which the run waits."""
        group = cast("anyio.abc.TaskGroup", self._runs_task_group)
        begun: object = None
        if await self._propose_pending_state(flow_run):
            begun = await group.start(self._submit_run_and_capture_errors, flow_run)
        if begun is None or isinstance(begun, Exception):
            self._release_limit_slot(flow_run.id)
        self._submitting_flow_run_ids.discard(flow_run.id)
        if self._cancelling_observer is not None:
            self._cancelling_observer.remove_in_flight_flow_run_id(flow_run.id)

    async def cancel_all(self, message: str) -> None:
        """Cancel every run that is under way or being taken up, and say so to the server."""
        await asyncio.gather(*(self._cancel(running, message) for running in tuple(self._running.values())))
        for flow_run_id in self._submitting_flow_run_ids - self._running.keys():
            await self._mark_cancelled(flow_run_id, Cancelled(message=message))

    async def _propose_submitting_state(self, flow_run: FlowRun) -> None:
        """Nothing is submitted: a run is pending until it runs."""

    def _emit_flow_run_submitted_event(self, configuration: BaseJobConfiguration) -> None:
        """See above."""

    async def _flow_of(self, flow_run: FlowRun) -> Flow[..., Any]:
        if flow_run.deployment_id is None:
            raise ValueError(f"flow run {flow_run.id} has no deployment")
        if flow_run.deployment_id not in self._flows:
            self._flows[flow_run.deployment_id] = await self._loaded(flow_run.deployment_id)
        return self._flows[flow_run.deployment_id]

    async def _loaded(self, deployment_id: UUID) -> Flow[..., Any]:
        """Once, as its code is."""
        deployment = await self.client.read_deployment(deployment_id)
        if deployment.entrypoint is None:
            raise ValueError(f"deployment {deployment.name} has no entrypoint")
        flow = definitions.load_flow(deployment.entrypoint, self._root)
        if not flow.isasync:
            raise TypeError(f"{deployment.entrypoint} is not async, and would hold up every other run")
        return _keeping_no_result(flow)

    @staticmethod
    def _look_at(task: asyncio.Task[Any]) -> None:
        """Raise what the engine did not make a state of."""
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, Abort | Pause):
            raise error

    async def _stop_what_was_asked_for(self) -> None:
        if not self._running:
            return
        state = FlowRunFilterState(type=FlowRunFilterStateType(any_=[*CANCELLING, StateType.PAUSED]))
        asked_for = FlowRunFilter(id=FlowRunFilterId(any_=list(self._running)), state=state)
        for flow_run in await self.client.read_flow_runs(flow_run_filter=asked_for):
            running = self._running.get(flow_run.id)
            if running is None or flow_run.state is None:
                continue
            if flow_run.state.type in CANCELLING:
                await self._cancel(running, "Cancelled on request.")
            elif is_suspended_flow_run_state(flow_run.state):
                mark_flow_run_suspension_requested(flow_run.id, flow_run.state)

    async def _cancel(self, running: _Running, message: str) -> None:
        state: State[Any] = Cancelled(message=message)
        running.cancel(state)
        await asyncio.wait({running.task}, timeout=TO_LET_GO)
        await self._mark_cancelled(running.flow_run.id, state)

    async def _mark_cancelled(self, flow_run_id: UUID, state: State[Any]) -> None:
        try:
            await self.client.set_flow_run_state(flow_run_id, state, force=True)
        except ObjectNotFound:
            self._logger.debug("flow run %s is gone", flow_run_id)
