"""Every five minutes: end the sites' sessions whose time is over."""

from tasks.units import flow


@flow(name="clean_up_sessions")
async def clean_up_sessions() -> int:
    """Return how many sessions were ended."""
    from tasks.upkeep import end_expired_sessions

    return await end_expired_sessions()
