"""What importing costs: a worker imports flows often, and the heavy clients belong to the stage that uses them."""

import json
import subprocess
import sys
from pathlib import Path

FLOWS = sorted(path.stem for path in Path("flows").glob("*.py") if path.stem != "__init__")

# Each module is measured as if it were the first: what the earlier ones loaded is forgotten.
MEASURE = """
import importlib, json, sys, time
began = time.process_time()
from prefect import flow
prefect = time.process_time() - began
before = set(sys.modules)
found = {}
for name in sys.argv[1:]:
    for loaded in set(sys.modules) - before:
        del sys.modules[loaded]
    began = time.process_time()
    importlib.import_module("flows." + name)
    share = (time.process_time() - began) / prefect
    found[name] = [share, sorted({"sqlalchemy", "openai", "lxml", "asyncpg"} & (set(sys.modules) - before))]
print(json.dumps(found))
"""


def test_importing_a_flow_costs_little_beyond_prefect_and_loads_no_heavy_client() -> None:
    output = subprocess.check_output([sys.executable, "-c", MEASURE, *FLOWS], text=True, timeout=60)
    for name, (share, heavy) in json.loads(output).items():
        assert share < 0.25, name
        assert heavy == [], name
