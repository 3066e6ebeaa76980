"""What a person gives to a command beside its arguments: secrets and files. No secret is ever an argument."""

import getpass
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.errors import Invalid, PressroomError

MOST_BYTES = 1_000_000


def secret(what: str, variable: str, option: str, *, from_stdin: bool) -> Callable[[], str]:
    """How to get it when it is needed: from stdin, else from the environment, else by a hidden prompt."""

    def ask() -> str:
        if from_stdin:
            return _from_stdin(what)
        if variable in os.environ:
            return os.environ[variable]
        if sys.stdin.isatty():
            return getpass.getpass(f"{what}: ")
        raise Invalid(f"No {what.lower()} was given; pipe it in with {option} or set {variable}")

    return ask


@contextmanager
def tested() -> Iterator[None]:
    """What failed its test was not saved: say by which option it would be."""
    from console.desk.given import NOT_SAVED  # noqa: PLC0415 - quick start

    try:
        yield
    except PressroomError as error:
        if not str(error).endswith(NOT_SAVED):
            raise
        raise type(error)(f"{error} (--no-test saves it untested)") from error


def _from_stdin(what: str) -> str:
    try:
        text = sys.stdin.buffer.read(MOST_BYTES).decode()
    except UnicodeDecodeError as error:
        raise Invalid(f"{what} on stdin is not UTF-8") from error
    return text.removesuffix("\n").removesuffix("\r")


def text_file(path: Path, what: str) -> str:
    """The text in a UTF-8 file; `-` is stdin. Raise Invalid that names the file."""
    try:
        raw = sys.stdin.buffer.read(MOST_BYTES + 1) if str(path) == "-" else _read(path)
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Invalid(f"{what} {path} is not UTF-8 (byte {error.start})") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Invalid(f"{what} {path} cannot be read: {reason}") from error
    if len(raw) > MOST_BYTES:
        raise Invalid(f"{what} {path} is larger than {MOST_BYTES:,} bytes")
    if not text.strip():
        raise Invalid(f"{what} {path} is empty")
    return text


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MOST_BYTES + 1)
