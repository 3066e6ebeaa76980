"""The limit of a process's tag in Prefect, where there is a server."""

import asyncio
import importlib
import os
from typing import Any
from uuid import UUID

from lib.database import forbid_session


async def limit(process_id: UUID) -> None:
    if limits := await _limits():
        await limits.ensure_tag_limit(process_id)


async def forget(process_id: UUID) -> None:
    if limits := await _limits():
        await limits.remove_tag_limit(process_id)


async def _limits() -> Any:
    if "PREFECT_API_URL" not in os.environ:
        return None
    forbid_session("a call of Prefect's API")
    # In a thread: it takes a second.
    return await asyncio.to_thread(importlib.import_module, "deployments.limits")
