"""Every half minute: where a dead run's lease has ended, start its stage again instead of waiting for the next tick.

What a dead worker's tasks left is noted as abandoned too.
"""

from tasks.units import flow


@flow(name="take_over_abandoned_work")
async def take_over_abandoned_work() -> list[str]:
    """Return the stages that were started."""
    from tasks.upkeep import (
        find_abandoned_stages,
        restart_abandoned_comparisons,
        start_stage,
        tidy_up_task_records,
    )

    stages = await find_abandoned_stages()
    for stage in stages:
        await start_stage(stage)
    await restart_abandoned_comparisons()
    await tidy_up_task_records()
    return list(stages)
