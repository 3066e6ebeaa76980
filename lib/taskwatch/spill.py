"""What memory cannot hold while the database is away: a file a recorder, a JSON object a line, in order.

The file is locked while its recorder lives. One that is not locked belongs to nobody any more, and whoever locks it
first writes it to the database: a second time does no harm, so a file is read from its beginning after every death.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson

MOST_BYTES = 200_000_000  # of all files of the directory together
AT_A_TIME = 50  # rows that are serialised before the interpreter is let go
_BLOCK = 1 << 16
ENDING = ".ndjson"


class Spill:
    """Rows in a file, first in, first out. `read` shows the next ones, `forget` takes them away."""

    def __init__(self, directory: Path, recorder_id: UUID) -> None:
        self._path = directory / f"{recorder_id}{ENDING}"
        self._file: int | None = None
        self._begin = 0  # of what is not forgotten
        self._shown = 0  # where the next `read` would go on
        self._rows_shown = 0
        self._end = 0
        self.rows = 0
        self.broken = 0

    @property
    def empty(self) -> bool:
        return self._begin >= self._end

    def append(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """How many were taken: the first ones, until the directory is full. Raises OSError when nothing can be."""
        file = self._opened()
        room = MOST_BYTES - _bytes_in(self._path.parent)
        taken = 0
        for lines in _in_lines(rows):
            if len(lines) > room:
                break
            _write(file, lines, self._end)
            self._end += len(lines)
            room -= len(lines)
            taken += lines.count(b"\n")
        self.rows += taken
        return taken

    def read(self, number: int) -> list[dict[str, Any]]:
        """The next rows, `number` at most. A line that is no row, as a death leaves behind, is passed over."""
        rows: list[dict[str, Any]] = []
        rest, place = b"", self._begin
        self._rows_shown, self._shown = 0, self._begin
        while self._file is not None and self._rows_shown < number and place < self._end:
            block = os.pread(self._file, _BLOCK, place)
            place += len(block)
            *lines, rest = (rest + block).split(b"\n")
            if place >= self._end or not block:
                lines, rest = [*lines, *([rest] if rest else [])], b""
            for line in lines[: number - self._rows_shown]:
                self._shown += len(line) + 1
                self._rows_shown += 1
                rows += self._row(line)
        return rows

    def forget(self) -> None:
        """Those that `read` showed last are safe."""
        self._begin, self.rows = self._shown, max(0, self.rows - self._rows_shown)
        if self.empty and self._file is not None:
            os.ftruncate(self._file, 0)
            self._begin = self._end = self._shown = self.rows = 0

    def close(self) -> None:
        """Leave the file for the next recorder, unless it is empty."""
        if self._file is None:
            return
        if self.empty:
            self._path.unlink(missing_ok=True)
        os.close(self._file)
        self._file = None

    def let_go(self) -> None:
        """In a forked process: the file is the parent's."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _row(self, line: bytes) -> list[dict[str, Any]]:
        with contextlib.suppress(orjson.JSONDecodeError):
            row = orjson.loads(line)
            if isinstance(row, dict):
                return [row]
        self.broken += 1
        return []

    def _opened(self) -> int:
        if self._file is None:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file, self._end = file, os.fstat(file).st_size
        return self._file

    @classmethod
    def adopted(cls, path: Path) -> "Spill | None":
        """A file that nobody holds, now ours; None when somebody does, or it is gone."""
        found = cls(path.parent, UUID(int=0))
        found._path = path
        try:
            file = os.open(path, os.O_RDWR)
        except OSError:
            return None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another may have emptied and removed it before we had the lock.
            if os.fstat(file).st_ino != path.stat().st_ino:
                raise FileNotFoundError(path)
        except OSError:
            os.close(file)
            return None
        found._file, found._end = file, os.fstat(file).st_size
        return found


def left_behind(directory: Path) -> Iterator[Spill]:
    """The files of recorders that are dead, oldest first."""
    with contextlib.suppress(OSError):
        # A recorder's id is a UUIDv7: in the order of their beginnings.
        for path in sorted(directory.glob(f"*{ENDING}")):
            found = Spill.adopted(path)
            if found is not None:
                yield found


def _in_lines(rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    lines: list[bytes] = []
    for row in rows:
        lines.append(_line(row))
        if len(lines) >= AT_A_TIME:
            yield b"".join(lines)
            lines = []
    if lines:
        yield b"".join(lines)


def _line(row: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        return b"null\n"  # counted as broken when it is read


def _write(file: int, data: bytes, place: int) -> None:
    """All or nothing counts: what a full disk cut off is written over by the next."""
    while data:
        written = os.pwrite(file, data, place)
        data, place = data[written:], place + written


def _bytes_in(directory: Path) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for entry in os.scandir(directory):
            with contextlib.suppress(OSError):
                total += entry.stat().st_size
    return total
