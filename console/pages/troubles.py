"""What is wrong, in the reader's language, and where something can be done about it."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from console.desk.given import version_of
from console.pages import prefect
from console.pages.language import Language
from console.record import Record

# A number of minutes is said in steps of so many, so that it is not another one every minute.
STEP = 15


@dataclass(frozen=True)
class Wrong:
    """One thing. `key` is the same as long as it is the same trouble, whatever its numbers do."""

    key: str
    severity: str
    what: str
    todo: str
    href: str | None


def told(spoken: Language, troubles: Iterable[Record]) -> tuple[Wrong, ...]:
    """The worst first, and of those the most frequent; always in the same order."""
    return tuple(_told(spoken, trouble) for trouble in sorted(troubles, key=_rank))


def _rank(trouble: Record) -> tuple[bool, int, str, str]:
    number = int(trouble["values"].get("number") or 0)
    return (
        trouble["severity"] != "error",
        -number if number else -1_000_000,
        trouble["code"],
        trouble["subject"]["name"],
    )


def _told(spoken: Language, trouble: Record) -> Wrong:
    subject, values = trouble["subject"], trouble["values"]
    key = version_of(trouble["code"], subject["kind"], subject["id"], subject["name"], values.get("status"))[:8]
    named = _named(spoken, subject["name"], values)
    what, todo = _words(spoken, trouble["code"], values, named) or (trouble["what"], trouble["todo"])
    return Wrong(key, trouble["severity"], what, todo, _where(trouble["code"], subject))


def _named(spoken: Language, name: str, values: Record) -> dict[str, Any]:
    """What the sentences below may name."""
    minutes = int(values.get("minutes") or 0)
    unit = values.get("unit")
    return {
        "name": name,
        "stage": spoken.gettext(str(values.get("stage") or name)),
        "minutes": minutes // STEP * STEP or minutes,
        "error": spoken.sentence(values.get("error") or values.get("reason") or ""),
        "processes": ", ".join(values.get("processes") or ()),
        "num": spoken.number(values.get("number") or 0),
        "used": _amount(spoken, values.get("used")),
        "budget": _amount(spoken, values.get("budget")),
        "unit": spoken.gettext("tokens") if unit == "tokens" else unit,
    }


def _amount(spoken: Language, value: Decimal | None) -> str:
    return "" if value is None else spoken.number(round(float(value), 2))


def _words(spoken: Language, code: str, values: Record, named: dict[str, Any]) -> tuple[str, str] | None:  # noqa: PLR0911 - one return a kind
    """What it is and what to do; None for a code that has no words here."""
    _, many = spoken.gettext, int(values.get("number") or 0)
    because = _("The last error: %(error)s") % named if named["error"] else ""
    match code:
        case "tick_late":
            what = _("No run of the stage “%(stage)s” has succeeded for %(minutes)s minutes.") % named
            return what, _("See whether a worker runs, and look at its runs in Prefect.")
        case "stage_late":
            what = _("The stage “%(stage)s” of “%(name)s” has had no success for %(minutes)s minutes.") % named
            return f"{what} {because}".strip(), _("Open the process and look at the last run of the stage.")
        case "login_off":
            return _("The login “%(name)s” is switched off, but needed by: %(processes)s") % named, _(
                "Switch it on, or change the process."
            )
        case "login_refused":
            return _("The login “%(name)s” does not get in: %(error)s") % named, _(
                "Check its password and test it. It is tried again by itself."
            )
        case "provider_down":
            return _("The provider “%(name)s” is down: %(error)s") % named, _(
                "Nothing, unless it goes on: it is tried again by itself."
            )
        case "budget_used_up":
            return _(
                "The budget of “%(name)s” is used up for today (%(used)s of %(budget)s %(unit)s). Its comments wait."
            ) % named, _("Wait until tomorrow, or raise it.")
        case "budget_warned":
            return _("The budget of “%(name)s” is nearly used up (%(used)s of %(budget)s %(unit)s).") % named, _(
                "Raise it in time, if the rest of the day needs it."
            )
        case _:
            return _items(spoken, code, many, named)


def _items(spoken: Language, code: str, many: int, named: dict[str, Any]) -> tuple[str, str] | None:
    _, plural = spoken.gettext, spoken.ngettext
    match code:
        case "items_failed":
            what = plural(
                "%(num)s comment of “%(name)s” failed in the last hour: %(error)s",
                "%(num)s comments of “%(name)s” failed in the last hour: %(error)s",
                many,
            )
            return what % named, _("See why, and try them again from there.")
        case "provider_refused":
            what = plural(
                "%(num)s comment of “%(name)s” waits for the model: %(error)s",
                "%(num)s comments of “%(name)s” wait for the model: %(error)s",
                many,
            )
            return what % named, _("Check the provider's key, model and budget, and test it.")
        case "items_refused":
            what = plural(
                "%(num)s comment of “%(name)s” waits for a login: %(error)s",
                "%(num)s comments of “%(name)s” wait for a login: %(error)s",
                many,
            )
            return what % named, _("Check the login and test it.")
        case "items_wait":
            what = plural(
                "%(num)s comment of “%(name)s” waits to be tried again: %(error)s",
                "%(num)s comments of “%(name)s” wait to be tried again: %(error)s",
                many,
            )
            return what % named, _("Nothing, unless it goes on.")
        case _:
            return None


def _where(code: str, subject: Record) -> str | None:
    """The page that helps."""
    match code:
        case "items_failed" | "items_wait":
            return f"/failures?process={subject['id']}"
        case "provider_refused":
            return "/providers"
        case "items_refused":
            return "/logins"
        case "tick_late" | "unwell":
            return prefect.page()
    pages = {"process": "/processes", "login": "/logins", "provider": "/providers"}
    folder = pages.get(subject["kind"])
    return f"{folder}/{subject['id']}" if folder and subject["id"] else None
