"""On request: ask two templates about the same past articles. Nothing is posted."""

from typing import TYPE_CHECKING
from uuid import UUID

from tasks.units import flow

if TYPE_CHECKING:
    from lib.monitoring.comparison import Report


@flow(name="compare_templates")
async def compare_templates(comparison_id: UUID) -> "Report":
    """Get every answer of the comparison that still waits; a second run goes on where a killed one ended."""
    from tasks.comparison import run_comparison

    return await run_comparison(comparison_id)
