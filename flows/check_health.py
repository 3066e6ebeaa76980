"""Every two minutes: look whether everything is at work, raise the alarms that are due, and show it when it is not."""

from typing import TYPE_CHECKING, Union

from prefect.states import Failed

from tasks.units import flow

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

    from lib.monitoring.health import Health

# A run in a failed state of this name found something; only one that is Failed or Crashed went wrong itself.
NOT_WELL = "NotWell"


@flow(name="check_health")
async def check_health() -> Union["Health", "State[None]"]:
    """End as NotWell, naming what is not well."""
    from tasks.alerts import raise_alarms
    from tasks.upkeep import examine

    health = await examine()
    await raise_alarms(health)
    ill = [f"{check.name}: {check.detail}" for check in health.checks if not check.ok]
    if ill:
        return Failed(name=NOT_WELL, message="Not well: " + "; ".join(ill))
    return health
