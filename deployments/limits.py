"""Tag limits: how many stages of one process run at once. A throttle that people may change, never a lock."""

import os
from collections.abc import Iterable
from uuid import UUID

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.exceptions import ObjectNotFound

STAGES_AT_ONCE = 4  # one a stage
_PAGE = 200


def tag_of(process_id: UUID) -> str:
    return f"process:{process_id}"


async def existing_tags(client: PrefectClient) -> set[str]:
    """Every tag that has a limit."""
    found: set[str] = set()
    while True:
        page = await client.read_concurrency_limits(limit=_PAGE, offset=len(found))
        found.update(limit.tag for limit in page)
        if len(page) < _PAGE:
            return found


async def ensure_limits(client: PrefectClient, process_ids: Iterable[UUID]) -> list[UUID]:
    """Limit each process that has no limit yet; return those. A limit that is there stays as people set it."""
    have = await existing_tags(client)
    missing = [id_ for id_ in process_ids if tag_of(id_) not in have]
    for process_id in missing:
        await client.create_concurrency_limit(tag_of(process_id), STAGES_AT_ONCE)
    return missing


async def ensure_tag_limit(process_id: UUID) -> bool:
    """Limit one process; False when no Prefect server answers, in which case the next deploy does it."""
    if not os.environ.get("PREFECT_API_URL"):
        return False
    try:
        async with get_client() as client:
            await ensure_limits(client, [process_id])
    except httpx.HTTPError:
        return False
    return True


async def remove_tag_limit(process_id: UUID) -> bool:
    """Forget the limit of a removed process; False when no Prefect server answers."""
    if not os.environ.get("PREFECT_API_URL"):
        return False
    try:
        async with get_client() as client:
            await client.delete_concurrency_limit_by_tag(tag_of(process_id))
    except ObjectNotFound:
        return True
    except httpx.HTTPError:
        return False
    return True
