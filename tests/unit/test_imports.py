"""What importing costs: a worker imports flows often, and the heavy clients belong to the stage that uses them."""

import subprocess
import sys
from pathlib import Path

import pytest

FLOWS = sorted(path.stem for path in Path("flows").glob("*.py") if path.stem != "__init__")

MEASURE = """
import sys, time
import prefect.flows, prefect
from prefect import flow
began = time.process_time()
import flows.{name}
print(time.process_time() - began)
heavy = {{"sqlalchemy", "openai", "bs4", "lxml", "asyncpg"}} & set(sys.modules)
print(",".join(sorted(heavy)))
"""


@pytest.mark.parametrize("name", FLOWS)
def test_importing_a_flow_costs_little_beyond_prefect_and_loads_no_heavy_client(name: str) -> None:
    seconds, heavy = subprocess.check_output(
        [sys.executable, "-c", MEASURE.format(name=name)], text=True, timeout=60
    ).split("\n")[:2]
    assert float(seconds) < 0.5
    # Prefect itself may have loaded some of them.
    before = subprocess.check_output(
        [sys.executable, "-c", "import sys, prefect.flows; print(*sys.modules)"], text=True, timeout=60
    ).split()
    assert set(filter(None, heavy.split(","))) <= set(before)
