"""`make chaos`: kill workers some two hundred times, then show that nothing was posted twice or lost.

`python -m benchmarks.chaos [--kills N] [--minutes M] [--seed S]`; exit status 1 when an invariant does not hold, or too
few kills came about in time.
"""

import argparse
import asyncio
import logging
import sys

from tests.chaos.ground import ENDS
from tests.chaos.run import storm
from tests.chaos.storm import Plan

RESTARTS_EACH = 3


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description="Kill workers; nothing may break.")
    parser.add_argument("--kills", type=int, default=200, help="how many at least (200)")
    parser.add_argument("--minutes", type=float, default=9.0, help="longest duration of the kills (9)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the harness's choices; times are never the same (0: any)"
    )
    asked = parser.parse_args()
    # The site's server says when a client is gone; here they go all the time.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    plan = Plan(kills=asked.kills, restarts=tuple(ENDS) * RESTARTS_EACH, cuts=3, longest=asked.minutes * 60)
    report = asyncio.run(storm(plan, seed=asked.seed))
    print("\n".join(report.lines()))
    enough = report.kills >= asked.kills
    if not enough:
        print(f"Only {report.kills} of {asked.kills} kills came about in time.")
    return 0 if enough and not report.breaches else 1


if __name__ == "__main__":
    sys.exit(main())
