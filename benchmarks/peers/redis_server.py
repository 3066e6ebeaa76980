"""A Redis of Debian's package, with its own defaults but for the port and the folder."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ground import free_port, wait_until
from benchmarks.peers.programs import program


@dataclass(frozen=True)
class Redis:
    port: int
    pid: int

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def ask(self, *words: str) -> str:
        return _ask(self.port, *words)


@contextlib.contextmanager
def redis(place: Path) -> Iterator[Redis]:
    """Raise RuntimeError where it is not installed."""
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError("There is no redis-server; `make bench` installs it, or: apt-get install redis-server")
    folder, port = place / "redis", free_port()
    folder.mkdir(exist_ok=True)
    command = [found, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with program(command, {}, place / "redis.log") as process:
        wait_until(lambda: _ask(port, "ping") == "PONG")
        yield Redis(port, process.pid)


def redis_version() -> str:
    said = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True).stdout
    return said.split("v=")[1].split()[0]


def _ask(port: int, *words: str) -> str:
    asked = subprocess.run(["redis-cli", "-p", str(port), *words], capture_output=True, text=True, check=False)
    return asked.stdout.strip()
