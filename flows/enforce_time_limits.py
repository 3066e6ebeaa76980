"""Every minute: stop the processes whose time is over."""

from tasks.units import flow


@flow(name="enforce_time_limits")
async def enforce_time_limits() -> list[str]:
    """Return the names of the processes that were stopped."""
    from tasks.upkeep import stop_overdue_processes

    return await stop_overdue_processes()
