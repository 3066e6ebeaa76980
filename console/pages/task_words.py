"""What the pages of the tasks say: names of tasks, times that something took, and how a task type is doing."""

from typing import Literal

from console.pages.language import Language
from lib.errors import Invalid

Health = Literal["well", "look out", "failing", "busy", "idle"]
STATUSES = ("pending", "running", "success", "failed", "abandoned")
FAILED = ("failed", "abandoned")
# The colour of a badge, by the status of a record and by how a task type is doing.
CLASSES = {"pending": "waiting", "running": "working", "success": "done", "failed": "failed", "abandoned": "failed"}
HEALTH_CLASSES: dict[Health, str] = {
    "well": "done",
    "look out": "waiting",
    "failing": "failed",
    "busy": "working",
    "idle": "stopped",
}
# The same as words.
WORDS = {status: "succeeded" if status == "success" else status for status in STATUSES}
HEALTH_WORDS: dict[Health, str] = {
    "well": "doing well",
    "look out": "look out",
    "failing": "failing",
    "busy": "busy",
    "idle": "idle",
}
WORST_FIRST: tuple[Health, ...] = ("failing", "look out", "busy", "well", "idle")
KINDS = {"flow": "a flow run", "stage": "a stage of a process", "item": "an item", "step": "a step"}
WELL = 95.0
FAILING = 50.0
SECOND, MINUTE, HOUR, DAY = 1000.0, 60_000.0, 3_600_000.0, 86_400_000.0


def task_name(spoken: Language, name: str) -> str:
    """A function's name as a person says it; a new task type needs no words of its own."""
    said = spoken.gettext(name) if name else name  # nothing is the key of the catalogue's own header
    return said if said != name else name.replace("_", " ")


def duration(spoken: Language, milliseconds: float | None) -> str:
    """In the two largest units that say something; nothing for None."""
    if milliseconds is None:
        return ""
    if milliseconds < SECOND:
        return "< 1 ms" if milliseconds < 1 else f"{spoken.number(round(milliseconds))} ms"
    if milliseconds < MINUTE:
        return f"{spoken.number(round(milliseconds / SECOND, 1))} s"
    large, small, words = _units(spoken, milliseconds)
    return words % {"large": large, "small": small}


def _units(spoken: Language, milliseconds: float) -> tuple[int, int, str]:
    _ = spoken.gettext
    for unit, part, words in (
        (DAY, HOUR, _("%(large)s d %(small)s h")),
        (HOUR, MINUTE, _("%(large)s h %(small)s min")),
        (MINUTE, SECOND, _("%(large)s min %(small)s s")),
    ):
        if milliseconds >= unit:
            return int(milliseconds // unit), int(milliseconds % unit // part), words
    raise Invalid("A time below a minute has one unit")


def health(success_rate: float | None, active: int) -> Health:
    """At a glance: by the share of what ended well, in percent; without an end, by whether something is under way."""
    if success_rate is None:
        return "busy" if active else "idle"
    if success_rate >= WELL:
        return "well"
    return "look out" if success_rate >= FAILING else "failing"


def percent(spoken: Language, share: float) -> str:
    """Of 100; never rounded up to all, so that a failure among many is seen."""
    shown = min(round(share, 1), 99.9) if share < 100 else 100  # noqa: PLR2004 - percent
    return f"{spoken.number(shown)} %"


def age(spoken: Language, seconds: float) -> str:
    """Roughly, so that it is not another one every second."""
    if seconds < MINUTE / SECOND:
        return spoken.gettext("less than a minute")
    minutes = seconds // 60 * 60
    return duration(spoken, minutes * SECOND).removesuffix(" 0 s").removesuffix(" 0 min")


def feed(spoken: Language) -> dict[str, str | dict[str, str]]:
    """What the feed says; `{name}` stands for a value."""
    _ = spoken.gettext
    return {
        "states": {status: _(words) for status, words in WORDS.items()} | {"running": _("began")},
        "pause": _("Pause"),
        "go_on": _("Go on"),
        "connected": _("live"),
        "lost": _("The connection is lost; it is made again …"),
        "signed_out": _("You are signed out; load the page again."),
        "too_old": _("Some of what happened meanwhile is too old to be shown here; the history has it."),
        "said": _("{ended} more ended."),
        "said_failed": _("{ended} more ended, {failed} of them failed."),
    }
