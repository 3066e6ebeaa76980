"""Every half minute: send the alerts that are due, again where nobody took them."""

from typing import TYPE_CHECKING

from tasks.units import flow

if TYPE_CHECKING:
    from lib.alerts.delivery import Delivered


@flow(name="deliver_alerts")
async def deliver_alerts() -> "Delivered":
    """Raise Invalid when the webhook's settings cannot be used."""
    from tasks.alerts import deliver

    return await deliver()
