"""A worker of a measurement: ticks all four stages from the word `go` on, until its input ends.

Its argument is how many there are: they share one schedule, so each pauses for as many seconds between its ticks.
Its last line says, as JSON, what it did of each stage, how many ticks failed, and how many seconds of CPU that took.
"""

import asyncio
import json
import sys
import time
import traceback
from collections import Counter

from benchmarks.scaling import events
from benchmarks.scaling.ticks import Flow, flows
from lib import llm
from lib.garbage import spare_the_collector
from lib.monitoring.items import TickReport
from lib.monitoring.stages import Stage

PAUSE = 1.0  # seconds between two ticks of a stage, by whichever worker


async def main() -> None:
    llm.load()
    for flow in flows().values():
        await flow()  # nothing is there yet; it loads what it needs
    spare_the_collector()
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    began, done, failed, ended = time.process_time(), Counter[Stage](), Counter[Stage](), asyncio.Event()
    async with asyncio.TaskGroup() as ticking:
        for stage, flow in flows().items():
            ticking.create_task(_again_and_again(stage, flow, done, failed, ended))
        await asyncio.to_thread(sys.stdin.read)
        ended.set()
    await asyncio.to_thread(events.send)
    print(json.dumps({"cpu": time.process_time() - began, "done": done, "failed": failed.total()}), flush=True)


async def _again_and_again(
    stage: Stage, flow: Flow, done: "Counter[Stage]", failed: "Counter[Stage]", ended: asyncio.Event
) -> None:
    """As a worker of the product: a tick that fails is a failed run, and the next one comes."""
    while not ended.is_set():
        try:
            report = await flow()
        except Exception:  # noqa: BLE001 - said, and counted
            traceback.print_exc()
            failed[stage] += 1
        else:
            assert isinstance(report, TickReport)
            done[stage] += report.done
        await asyncio.sleep(PAUSE * int(sys.argv[1]))


if __name__ == "__main__":
    asyncio.run(main())
