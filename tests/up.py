"""`pressroom up` as a person starts it, on a data directory and ports of its own."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import psutil
from prefect.events.worker import EventsWorker

from deployments import definitions, instance

PATIENCE = 90.0  # the machine may be busy with something else


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def until(true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.1)
    return False


class Up:
    """One `pressroom up` after another on the same data directory and ports."""

    def __init__(self, folder: Path) -> None:
        self.data_dir = folder / "a data directory"
        self._said = folder / "said"
        self.prefect, self.console, self.playground = free_ports(3)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        inherited = {
            name: value for name, value in os.environ.items() if not name.startswith(("PRESSROOM_", "PREFECT_"))
        }
        return inherited | {
            "PRESSROOM_DATA_DIR": str(self.data_dir),
            "PRESSROOM_PREFECT_PORT": str(self.prefect),
            "PRESSROOM_CONSOLE_PORT": str(self.console),
            "PRESSROOM_PLAYGROUND_PORT": str(self.playground),
        }

    @property
    def said(self) -> str:
        return self._said.read_text()

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.prefect}/api"

    def command(self, *arguments: str, **changed: str) -> subprocess.Popen[bytes]:
        with self._said.open("wb") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "deployments.up", *arguments],
                stdout=out,
                stderr=subprocess.STDOUT,
                cwd=definitions.ROOT,
                env=self.environment | changed,
            )

    def start(self) -> None:
        self.process = self.command("--playground", "--llm", "scripted")
        up = until(lambda: "up after" in self.said or self.supervisor.poll() is not None)
        assert up, self.said
        assert self.supervisor.poll() is None, self.said

    @property
    def supervisor(self) -> subprocess.Popen[bytes]:
        assert self.process is not None
        return self.process

    def family(self) -> list[psutil.Process]:
        parent = psutil.Process(self.supervisor.pid)
        return [parent, *parent.children(recursive=True)]

    def child(self, name: str) -> psutil.Process:
        found = instance.read(self.data_dir)
        assert found is not None
        (mark,) = (each for each in found.children if each.name == name)
        process = mark.process()
        assert process is not None
        return process

    def refused(self, **changed: str) -> str:
        """What another start says, which must fail."""
        before = self.said
        process = self.command(**changed)
        assert process.wait(30) == 1
        said, _ = self.said, self._said.write_text(before)
        return said


AnyUp = TypeVar("AnyUp", bound=Up)


@contextlib.contextmanager
def running_up(make: Callable[[Path], AnyUp]) -> Iterator[AnyUp]:
    """What `make` makes of a folder, started with the playground and its scripted model; stopped in the end."""
    folder = Path(tempfile.mkdtemp(prefix="pressroom-up-"))
    folder.chmod(0o755)  # PostgreSQL's account has to get there
    running = make(folder)
    try:
        running.start()
        yield running
        # Prefect's sender of events stays with the server that it met first, and would go on sending to this one. In a
        # thread, since where a loop runs it would not wait.
        with ThreadPoolExecutor(1) as aside:
            aside.submit(EventsWorker.drain_all, timeout=10).result()
    finally:
        if running.process is not None and running.process.poll() is None:
            running.process.terminate()
            running.process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
