"""Makes a record of every unit of a process and hands it to the writer: nothing waits here, and nothing raises."""

import asyncio
import atexit
import os
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from lib import units
from lib.settings import settings as read_settings
from lib.taskwatch import parameters
from lib.taskwatch.fingerprint import fingerprint, normalised, place
from lib.taskwatch.writer import Writer
from lib.units import Failure, Unit
from lib.work import new_id

log = structlog.get_logger()

DIRECTORY = "taskwatch"  # below the data directory
# A unit that was cancelled did not succeed; this is how it is told from the others.
CANCELLED = Failure("Cancelled", "It was cancelled before it had ended")


class Recorder:
    """The observer of a process. What it makes of a unit are columns of its record: as it waits, begins and ends."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self._troubles = 0

    def opened(self, unit: Unit, arguments: Mapping[str, Any]) -> None:
        try:
            unit.row = {
                "id": unit.id,
                "created_at": _moment(unit.created),
                "task_name": unit.name,
                "kind": unit.kind,
                "status": "pending",
                "parameters": parameters.shown(arguments),
                "recorder_id": self.writer.id,
            }
        except Exception as error:  # noqa: BLE001 - the work comes first
            self._in_trouble(error)

    def waits(self, unit: Unit) -> None:
        try:
            self._put(unit)
        except Exception as error:  # noqa: BLE001 - the work comes first
            self._in_trouble(error)

    def began(self, unit: Unit) -> None:
        try:
            row = unit.row
            row["status"] = "running"
            row["started_at"] = _moment(unit.started or unit.created) if unit.waited else row["created_at"]
            self._put(unit)
        except Exception as error:  # noqa: BLE001 - the work comes first
            self._in_trouble(error)

    def ended(self, unit: Unit, failure: BaseException | Failure | None, seconds: float) -> None:
        try:
            row = unit.row
            row["status"] = "success" if failure is None else "failed"
            row["duration_ms"] = round(seconds * 1000, 3)
            row["completed_at"] = _moment((unit.started or unit.created) + seconds)
            if failure is not None:
                row.update(described(failure, unit.name))
            self.writer.put(row)
        except Exception as error:  # noqa: BLE001 - the work comes first
            self._in_trouble(error)
        finally:
            unit.row = None

    def _put(self, unit: Unit) -> None:
        """What is known by now. The parameters are told once, and the end adds to this: what is not named stays."""
        row: dict[str, Any] = unit.row.copy()
        unit.row.pop("parameters", None)
        row["run_name"] = parameters.storable(unit.run_name)
        row["task_id"] = str(unit.task_id or unit.id)
        row["attempt"] = unit.attempt if isinstance(unit.attempt, int) else 1
        row["process_id"] = _id(unit.process_id)
        row["owner_id"] = _id(unit.owner_id)
        row["flow_run_id"] = _id(unit.flow_run_id)
        row["item_id"] = _id(unit.item_id)
        row["parent_id"] = unit.parent_id
        self.writer.put(row)

    def _in_trouble(self, error: Exception) -> None:
        """Say it once: what goes wrong here goes wrong for every unit."""
        self._troubles += 1
        if self._troubles == 1:
            log.error("task_not_recorded", error=f"{type(error).__name__}: {error}")


def described(failure: BaseException | Failure, name: str) -> dict[str, str | None]:
    """The columns that tell of a failure of a unit of this name."""
    trace = None
    if isinstance(failure, asyncio.CancelledError):
        failure = CANCELLED
    if isinstance(failure, Failure):
        kind, message, where = failure.type, parameters.message(failure.message), name
    else:
        kind, message = type(failure).__name__, parameters.message(failure)
        where = place(failure.__traceback__) or name
        trace = _traceback(failure)
    return {
        "error_type": parameters.storable(kind),
        "error_message": message,
        "error_traceback": trace,
        "fingerprint": fingerprint(kind, where, message),
        "place": where,
        "cause": normalised(message),
    }


def _traceback(error: BaseException) -> str:
    """As Python shows it: without the variables, whose values may be secrets."""
    try:
        lines = traceback.format_exception(error, limit=-60)
    except Exception as trouble:  # noqa: BLE001 - an error may fail to tell its own words
        lines = traceback.format_tb(error.__traceback__)
        lines.append(f"{type(error).__name__} (its words cannot be had: {type(trouble).__name__})")
    return parameters.without_secrets(parameters.both_ends("".join(lines)))


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _id(value: object) -> UUID | None:
    """None for what is no id."""
    if value is None or type(value) is UUID:
        return value
    try:
        return UUID(str(value))
    except ValueError:
        return None


_recorder: Recorder | None = None


def start() -> Recorder | None:
    """The recorder of this process; None where recording is off or there is no database to record to."""
    global _recorder  # noqa: PLW0603 - a process has one
    have = read_settings()
    if _recorder is not None:
        return _recorder
    if not have.task_recording or have.database_url is None:
        return None
    _recorder = Recorder(Writer(have.database_url, have.data_dir / DIRECTORY, new_id()))
    atexit.register(_recorder.writer.close)
    return _recorder


def current() -> Recorder | None:
    """The recorder of this process, if it has one by now."""
    return _recorder


def stop() -> None:
    """Write what waits and end the recorder; the next unit starts another."""
    global _recorder
    ending, _recorder = _recorder, None
    units.observe_with(start)
    if ending is not None:
        atexit.unregister(ending.writer.close)
        ending.writer.close()


def _forked() -> None:
    """A child has neither the thread nor the records of its parent: its first unit starts a recorder of its own."""
    global _recorder  # noqa: PLW0603
    if _recorder is not None:
        _recorder.writer.forget()
        _recorder = None
        units.observe_with(start)


os.register_at_fork(after_in_child=_forked)
