"""What a command says: one JSON document, or lines and tables for a person. Errors and progress go to stderr."""

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.table import Table

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead.")]

WIDTH_OF_A_PIPE = 200
_LINES = {"\n", "\t"}
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


def show(document: Mapping[str, Any], human: Callable[[], None], *, as_json: bool) -> None:
    """Print the document, or what `human` prints."""
    if as_json:
        text = json.dumps(document, ensure_ascii=False, indent=2, default=_plain)
        # A name with half a character in it can be read, but not printed.
        sys.stdout.write(text.encode("utf-8", "replace").decode() + "\n")
        sys.stdout.flush()
    else:
        human()


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def printable(value: Any) -> str:
    """Text from anywhere, without what would command a terminal or turn its writing round."""
    text = "" if value is None else str(value)
    return "".join(char if _harmless(char) else "�" for char in text)


def _harmless(char: str) -> bool:
    return char in _LINES or char == "\u200d" or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def line(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(printable(text) + "\n")


def note(text: str) -> None:
    """A line on stderr, beside the result."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def complain(text: str) -> None:
    """The one line of an error."""
    note("pressroom: " + " ".join(printable(text).split()))


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], empty: str) -> None:
    """A table, or the sentence `empty` where it would have no rows."""
    if not rows:
        line(empty)
        return
    from rich.console import Console  # noqa: PLC0415 - quick start

    width = None if sys.stdout.isatty() else WIDTH_OF_A_PIPE
    Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False).print(_table(columns, rows))


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> "Table":
    from rich.box import SIMPLE_HEAD  # noqa: PLC0415 - quick start
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    made = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for number, column in enumerate(columns):
        made.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(cell)) for cell in row))
    return made


def facts(pairs: Sequence[tuple[str, Any]]) -> None:
    """A record as lines: what, then its value; those without a value are left out."""
    there = [(what, value) for what, value in pairs if value not in (None, "", [], ())]
    width = max((len(what) for what, _ in there), default=0)
    for what, value in there:
        shown = ", ".join(str(each) for each in value) if isinstance(value, list | tuple) else value
        line(f"{what:<{width}}  {_words(shown)}")


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return when(value) if isinstance(value, datetime) else str(value)


def when(moment: datetime | None) -> str:
    """A time as a person says it: “4 min ago”, “in 30 s”."""
    if moment is None:
        return ""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """A length of time, roughly."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.0f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.0f} days"


def cut(text: str | None, longest: int = 60) -> str:
    """The beginning of a text, on one line."""
    flat = " ".join((text or "").split())
    return flat if len(flat) <= longest else flat[: longest - 1] + "…"
