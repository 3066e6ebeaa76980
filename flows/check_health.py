"""Every two minutes: look whether everything is at work; fail when it is not, so that Prefect shows and tells it."""

from typing import TYPE_CHECKING

from prefect import flow

if TYPE_CHECKING:
    from lib.monitoring.health import Health


@flow(name="check_health")
async def check_health() -> "Health":
    """Raise RuntimeError that names what is not well."""
    from tasks.upkeep import examine

    health = await examine()
    ill = [f"{check.name}: {check.detail}" for check in health.checks if not check.ok]
    if ill:
        raise RuntimeError("Not well: " + "; ".join(ill))
    return health
