"""`prefect.yaml`, read strictly: Prefect itself passes over a key that it does not know."""

import importlib
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import yaml
from prefect import Flow
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from pydantic import BaseModel, ConfigDict, Field, model_validator

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "prefect.yaml"
STAGE_TAG = "stage:"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScheduleDefinition(_Strict):
    """Exactly one of `interval` (seconds) and `cron`; the slug is what a later deploy finds the schedule by."""

    slug: str
    timezone: Literal["UTC"]
    interval: float | None = Field(None, gt=0)
    anchor_date: datetime | None = None
    cron: str | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> "ScheduleDefinition":
        if (self.interval is None) == (self.cron is None) or (self.interval is None) != (self.anchor_date is None):
            raise ValueError("a schedule is an interval with an anchor_date, or a cron")
        return self

    def at_interval(self, interval: float) -> "ScheduleDefinition":
        """The same with another interval, its place within the interval kept in proportion."""
        if self.interval is None or self.anchor_date is None:
            return self
        midnight = self.anchor_date.replace(hour=0, minute=0, second=0, microsecond=0)
        offset = (self.anchor_date - midnight) * (interval / self.interval)
        return self.model_copy(update={"interval": interval, "anchor_date": midnight + offset})

    def schedule(self) -> IntervalSchedule | CronSchedule:
        if self.cron is not None:
            return CronSchedule(cron=self.cron, timezone=self.timezone)
        interval = timedelta(seconds=self.interval or 0)
        return IntervalSchedule(interval=interval, anchor_date=self.anchor_date, timezone=self.timezone)


class WorkPoolDefinition(_Strict):
    name: str


class Definition(_Strict):
    """One deployment."""

    name: str
    entrypoint: str
    tags: list[str]
    work_pool: WorkPoolDefinition
    schedules: list[ScheduleDefinition]

    @property
    def is_stage(self) -> bool:
        return any(tag.startswith(STAGE_TAG) for tag in self.tags)

    def with_stage_interval(self, interval: float) -> "Definition":
        """For a stage the given interval; everything else keeps its own."""
        if not self.is_stage:
            return self
        return self.model_copy(update={"schedules": [each.at_interval(interval) for each in self.schedules]})


class _ProjectFile(_Strict):
    name: str
    pull: list[dict[str, dict[str, Any]]]
    definitions: dict[str, Any]
    """Where YAML anchors are kept."""
    deployments: list[Definition]


class Project(_Strict):
    """What `prefect.yaml` says."""

    pull: list[dict[str, dict[str, Any]]]
    deployments: list[Definition]


def load(file: Path = FILE) -> Project:
    """Raise pydantic's ValidationError for anything that Prefect would not understand."""
    found = _ProjectFile.model_validate(yaml.safe_load(file.read_text()))
    return Project(pull=found.pull, deployments=found.deployments)


def load_flow(entrypoint: str, root: Path = ROOT) -> Flow[..., Any]:
    """The flow at `folder/file.py:name` below the root, imported once however often it is asked for."""
    path, _, name = entrypoint.partition(":")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    found = getattr(module, name, None)
    if not isinstance(found, Flow):
        raise TypeError(f"{entrypoint} is not a flow")
    return found
