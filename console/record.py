"""What the desk hands out: a JSON-able document of plain values, ids and times."""

from typing import Any

Record = dict[str, Any]
