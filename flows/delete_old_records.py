"""Every day: delete what is older than the settings keep."""

from tasks.units import flow


@flow(name="delete_old_records")
async def delete_old_records() -> dict[str, int]:
    """Return how many sessions, comments, repeated steps of comments, alerts and task records were deleted."""
    from tasks.alerts import delete_old_alerts
    from tasks.upkeep import delete_old_comments, delete_old_sessions, delete_old_task_records, thin_out_history

    return {
        "sessions": await delete_old_sessions(),
        "comments": await delete_old_comments(),
        "steps": await thin_out_history(),
        "alerts": await delete_old_alerts(),
        "task_records": await delete_old_task_records(),
    }
