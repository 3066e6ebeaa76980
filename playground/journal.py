"""An append-only file of JSON lines that survives the death of its writer at any instant."""

import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]


class JournalInUseError(RuntimeError):
    """Another playground has this data directory open."""


class Journal:
    """One event a line, in the system's hands before `append` returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._file)
            raise JournalInUseError(f"{path.parent} is in use by another playground") from error

    def replay(self) -> Iterator[Event]:
        """Every event so far. A half line, left by a kill, is cut off: the next one must not be glued to it."""
        with os.fdopen(os.dup(self._file), "rb") as lines:
            lines.seek(0)
            whole = 0
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                whole += len(line)
                yield json.loads(line)
        os.ftruncate(self._file, whole)

    def append(self, event: Event) -> None:
        rest = memoryview(json.dumps(event, ensure_ascii=False).encode() + b"\n")
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> None:
        os.close(self._file)
