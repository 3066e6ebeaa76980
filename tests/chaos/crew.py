"""The workers as the storm sees them: how many there are, who was born, who died."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parents[2]
READY_WITHIN = 60.0
GONE_WITHIN = 5.0

Killed = Callable[[int], None]


class Crew:
    """The nursery's other end. `born_at` has the living; `killed` is called for each that SIGKILL ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.born_at: dict[int, float] = {}
        self.kills = 0
        self.ended_otherwise: list[int] = []
        self.deaths: asyncio.Queue[int] = asyncio.Queue()
        self.births: asyncio.Queue[int] = asyncio.Queue()
        self._process = process

    async def ready(self) -> None:
        async with asyncio.timeout(READY_WITHIN):
            if not await self._output.readline():
                raise RuntimeError("the nursery did not start; its log says why")

    def keep(self, number: int) -> None:
        """So many workers from now on; those that die are replaced at once."""
        self._say(keep=number)

    def kill(self, pid: int) -> None:
        self._say(kill=pid)

    async def listen(self) -> None:
        """Take note of births and deaths until the nursery ends."""
        while line := await self._output.readline():
            event = json.loads(line)
            if born := event.get("born"):
                self.born_at[born] = time.monotonic()
                self.births.put_nowait(born)
            else:
                self._note_death(event["died"], event["code"])

    async def end(self) -> None:
        """End every worker, and wait until the last one is gone."""
        assert self._process.stdin
        self._process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), GONE_WITHIN)
        if self._process.returncode is None:
            self._process.kill()  # the workers die with it
            await self._process.wait()

    def _note_death(self, pid: int, code: int) -> None:
        self.born_at.pop(pid, None)
        if code == -signal.SIGKILL:
            self.kills += 1
            self.deaths.put_nowait(pid)
        else:
            self.ended_otherwise.append(code)

    def _say(self, **command: int) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(command).encode() + b"\n")

    @property
    def _output(self) -> asyncio.StreamReader:
        assert self._process.stdout
        return self._process.stdout


@asynccontextmanager
async def hired(environment: dict[str, str], log: Path) -> AsyncIterator[Crew]:
    """A nursery with nobody in it yet; in the end everyone is gone."""
    command = (sys.executable, "-m", "tests.chaos.nursery")
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=said,
            env=os.environ | environment,
            cwd=ROOT,
        )
    crew = Crew(process)
    try:
        await crew.ready()
        yield crew
    finally:
        await asyncio.shield(crew.end())
