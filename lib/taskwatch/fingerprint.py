"""What makes two failures the same: their type, the place in our code, and the message without what varies."""

import hashlib
import re
from functools import cache
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
OURS = ("lib", "tasks", "flows", "console", "deployments", "playground", "benchmarks")
LONGEST = 300
_READ = 2_000  # characters of a message that are looked at

_DATE = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)?(?:\s?Z|\s?[+-]\d{2}:?\d{2})?"
_VARIES = re.compile(
    rf"""(?P<address>\b[a-z][a-z0-9+.-]*://[^\s'"<>”»)]+)
    |(?P<quoted>"[^"\n]*"|“[^”\n]*”|„[^“”\n]*[“”]|«[^»\n]*»|‘[^’\n]*’|(?<!\w)'[^'\n]*'(?!\w))
    |(?P<uuid>\b[0-9a-f]{{8}}-(?:[0-9a-f]{{4}}-){{3}}[0-9a-f]{{12}}\b)
    |(?P<date>\b{_DATE}|\b\d{{1,2}}:\d{{2}}(?::\d{{2}}(?:\.\d+)?)?\b|\b\d{{1,2}}\.\d{{1,2}}\.\d{{4}}\b)
    |(?P<hex>\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{{8,}}\b)
    |(?P<host>\b\d{{1,3}}(?:\.\d{{1,3}}){{3}}(?::\d+)?\b|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b)
    |(?P<number>\d+(?:[.,’']\d+)*)""",
    re.VERBOSE | re.IGNORECASE,
)
_SIGNS = {
    "address": "<address>",
    "quoted": "<text>",
    "uuid": "<id>",
    "date": "<time>",
    "hex": "<hex>",
    "host": "<address>",
    "number": "<n>",
}


def normalised(message: str) -> str:
    """The message with a sign for each number, id, date, address and quotation; at most 300 characters."""
    told = _VARIES.sub(lambda found: _SIGNS[found.lastgroup or "number"], message[:_READ])
    return " ".join(told.split())[:LONGEST]


def place(trace: TracebackType | None) -> str:
    """The innermost frame in our own packages, as `lib/monitoring/posting.py:_read_back`; else the innermost one's.

    Without the line's number, which moves. Empty without a traceback.
    """
    ours = innermost = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        file = _file(code.co_filename)
        innermost = f"{file or Path(code.co_filename).name}:{code.co_name}"
        if file is not None:
            ours = innermost
        trace = trace.tb_next
    return ours or innermost


def fingerprint(kind: str, where: str, message: str) -> str:
    """16 hexadecimal digits. `message` is normalised here; a second time changes nothing."""
    parts = "\n".join((kind, where, normalised(message)))
    return hashlib.sha256(parts.encode("utf-8", "replace")).hexdigest()[:16]


@cache
def _file(name: str) -> str | None:
    """The path of one of our own files below the project's directory."""
    try:
        inside = Path(name).resolve().relative_to(ROOT)
    except (ValueError, OSError):
        return None
    return inside.as_posix() if inside.parts[0] in OURS else None
