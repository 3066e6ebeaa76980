"""Every day: delete what is older than the settings keep."""

from prefect import flow


@flow(name="delete_old_records")
async def delete_old_records() -> dict[str, int]:
    """Return how many sessions, comments and alerts were deleted."""
    from tasks.alerts import delete_old_alerts
    from tasks.upkeep import delete_old_comments, delete_old_sessions

    return {
        "sessions": await delete_old_sessions(),
        "comments": await delete_old_comments(),
        "alerts": await delete_old_alerts(),
    }
