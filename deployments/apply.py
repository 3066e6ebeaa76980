"""Bring a Prefect server to what the files say: the work pool, the tag limits, every deployment and automation.

A second time it finds nothing to do. What people changed by hand stays: a paused schedule or deployment, a disabled
automation, a raised limit, a schedule that they added.
"""

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.utilities.callables import parameter_schema
from sqlalchemy import select

from deployments import automations, definitions, limits
from deployments.definitions import Definition
from deployments.limits import ensure_tag_limit, remove_tag_limit
from lib.database import Database
from lib.errors import Conflict
from lib.monitoring.models import MonitoringProcess
from lib.settings import Settings

__all__ = ["Change", "PoolType", "deploy", "ensure_tag_limit", "remove_tag_limit", "start_stages"]

PoolType = Literal["pressroom", "process", "docker"]
Outcome = Literal["created", "updated", "unchanged", "deleted"]
TEMPLATES = Path(__file__).parent / "work-pools"


@dataclass(frozen=True)
class Change:
    """What was done about one thing."""

    kind: Literal["work pool", "tag limit", "deployment", "automation"]
    name: str
    outcome: Outcome


@dataclass(frozen=True)
class _Wanted:
    """A definition with what its flow adds to it."""

    definition: Definition
    flow: Flow[..., Any]
    fields: dict[str, Any]

    @property
    def full_name(self) -> str:
        return f"{self.flow.name}/{self.definition.name}"


async def deploy(settings: Settings, *, pool_type: PoolType = "pressroom") -> list[Change]:
    """Apply everything; the database must be migrated. Raises Conflict when the pool is of another type."""
    project = definitions.load()
    async with get_client() as client:
        changes = [await _ensure_pool(client, settings.work_pool, pool_type)]
        limited = await limits.ensure_limits(client, await _processes(settings))
        changes += [Change("tag limit", limits.tag_of(process_id), "created") for process_id in limited]
        wanted = [_wanted(each, settings, project.pull) for each in project.deployments]
        changes += await asyncio.gather(*(_apply(client, each) for each in wanted))
        changes += [Change("automation", name, outcome) for name, outcome in await automations.apply(client, settings)]
    return changes


async def start_stages() -> int:
    """Let each stage run once now; return how many were asked for."""
    stages = [each for each in definitions.load().deployments if each.is_stage]
    async with get_client() as client:
        for stage in stages:
            flow = definitions.load_flow(stage.entrypoint)
            found = await client.read_deployment_by_name(f"{flow.name}/{stage.name}")
            await client.create_flow_run_from_deployment(found.id, tags=["at-start"])
    return len(stages)


async def _processes(settings: Settings) -> list[UUID]:
    if settings.database_url is None:
        return []
    async with Database(settings.database_url, pool_size=1) as database, database.session() as session:
        return list(await session.scalars(select(MonitoringProcess.id).order_by(MonitoringProcess.id)))


async def _ensure_pool(client: PrefectClient, name: str, pool_type: PoolType) -> Change:
    outcome: Outcome = "unchanged"
    try:
        found = await client.read_work_pool(name)
    except ObjectNotFound:
        template = None if pool_type == "pressroom" else json.loads((TEMPLATES / f"{pool_type}.json").read_text())
        try:
            await client.create_work_pool(WorkPoolCreate(name=name, type=pool_type, base_job_template=template or {}))
            outcome = "created"
        except ObjectAlreadyExists:  # somebody deployed at the same time
            pass
        found = await client.read_work_pool(name)
    if found.type != pool_type:
        raise Conflict(
            f"The work pool “{name}” is of type {found.type}, not {pool_type}; set PRESSROOM_WORK_POOL to another name"
        )
    return Change("work pool", name, outcome)


def _wanted(definition: Definition, settings: Settings, pull: list[dict[str, dict[str, Any]]]) -> _Wanted:
    definition = definition.with_stage_interval(settings.stage_interval)
    flow = definitions.load_flow(definition.entrypoint)
    return _Wanted(
        definition,
        flow,
        {
            "entrypoint": definition.entrypoint,
            "tags": definition.tags,
            "work_pool_name": settings.work_pool,
            "pull_steps": pull,
            "description": flow.description,
            "parameter_openapi_schema": parameter_schema(flow).model_dump(exclude_unset=True),
        },
    )


async def _apply(client: PrefectClient, wanted: _Wanted) -> Change:
    try:
        found = await client.read_deployment_by_name(wanted.full_name)
    except ObjectNotFound:
        await _create(client, wanted)
        return Change("deployment", wanted.definition.name, "created")
    different = {key: value for key, value in wanted.fields.items() if getattr(found, key) != value}
    if different:
        # A field that is left out stays; the server reads the schema and the pool together with the rest.
        await client.update_deployment(found.id, DeploymentUpdate(**wanted.fields))
    rescheduled = [await _apply_schedule(client, found, each) for each in wanted.definition.schedules]
    outcome: Outcome = "updated" if different or any(rescheduled) else "unchanged"
    return Change("deployment", wanted.definition.name, outcome)


async def _create(client: PrefectClient, wanted: _Wanted) -> None:
    flow_id = await client.create_flow_from_name(wanted.flow.name)
    schedules = [
        DeploymentScheduleCreate(schedule=each.schedule(), slug=each.slug) for each in wanted.definition.schedules
    ]
    await client.create_deployment(
        flow_id, wanted.definition.name, schedules=schedules, enforce_parameter_schema=True, **wanted.fields
    )


async def _apply_schedule(
    client: PrefectClient, found: DeploymentResponse, wanted: definitions.ScheduleDefinition
) -> bool:
    """One schedule at a time and without `active`: the others, and whether it is paused, are people's business."""
    schedule = wanted.schedule()
    same_slug = [each for each in found.schedules if each.slug == wanted.slug]
    if not same_slug:
        await client.create_deployment_schedules(
            found.id, [DeploymentScheduleCreate(schedule=schedule, slug=wanted.slug)]
        )
        return True
    if same_slug[0].schedule == schedule:
        return False
    await client.update_deployment_schedule(found.id, same_slug[0].id, schedule=schedule)
    return True
