"""“Test it”: something of the outside world, tried for a bounded time, and what happened in words."""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass, field

from fastapi import Request

from console.pages.language import language_of
from console.record import Record
from lib.errors import NotFound, PressroomError, Transient


@dataclass(frozen=True)
class Trial:
    """How it went. `words`: why not, in the reader's language."""

    works: bool
    milliseconds: int
    words: str = ""
    found: Record = field(default_factory=dict)


async def tried(request: Request, doing: Awaitable[Record], seconds: float) -> Trial:
    """A failure is a finding. Raises NotFound for a thing that is not there."""
    began = time.perf_counter()
    try:
        async with asyncio.timeout(seconds):
            found = await doing
    except TimeoutError:
        return Trial(works=False, milliseconds=_since(began), words=_too_slow(request, seconds))
    except NotFound:
        raise
    except PressroomError as error:
        return Trial(works=False, milliseconds=_since(began), words=language_of(request).sentence(error))
    return Trial(works=True, milliseconds=_since(began), found=found)


def _since(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)


def _too_slow(request: Request, seconds: float) -> str:
    return language_of(request).sentence(Transient(f"There was no answer within {seconds:.0f} seconds"))
