"""Every two minutes: look whether everything is at work; fail when it is not, so that Prefect shows and tells it."""

from prefect import flow

from lib.monitoring.health import Health
from tasks.upkeep import examine


@flow(name="check_health")
async def check_health() -> Health:
    """Raise RuntimeError that names what is not well."""
    health = await examine()
    ill = [f"{check.name}: {check.detail}" for check in health.checks if not check.ok]
    if ill:
        raise RuntimeError("Not well: " + "; ".join(ill))
    return health
