"""German or English, as the browser asks. A text in the code or a template is English and its own key.

Translations are in `locale/de*.po`: `de.po` holds what every page has, a page may bring its own `de.<page>.po`. The
sentence of an error holds values already, so it is matched: its entry has `msgctxt "error"`, and a `%(name)s` where any
text may stand. What stands for `%(why)s` is a sentence itself, or several with a semicolon between them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from babel import Locale, dates, numbers
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from markupsafe import Markup
from starlette.requests import HTTPConnection

LANGUAGES = ("en", "de")
_LOCALES = Path(__file__).parent / "locale"
_LONGEST_HEADER = 1000
_LONGEST_SENTENCE = 1000
# English by its month's name: 11/12/26 is two days, by who reads it. app.js writes them alike.
_EXACT_TIME = {"en": "d MMM y, HH:mm", "de": "dd.MM.y, HH:mm"}
_WHY = "why"
_MOST_REASONS = 8
_VALUE = re.compile(r"%\((\w+)\)s")
_ROUGH = Markup('<time datetime="{}" title="{}">{}</time>')
_EXACT = Markup('<time datetime="{}" title="{}" data-exact="">{}</time>')


@dataclass(frozen=True)
class Language:
    """A language's texts and its ways of writing times and numbers."""

    code: str
    locale: Locale
    gettext: Callable[[str], str]
    ngettext: Callable[[str, str, int], str]
    sentences: tuple[tuple[re.Pattern[str], str], ...] = ()

    def sentence(self, text: object) -> str:
        """An error's, in this language where we have it."""
        said = str(text)
        for pattern, translated in self.sentences if len(said) <= _LONGEST_SENTENCE else ():
            if found := pattern.fullmatch(said):
                values = found.groupdict()
                if why := values.get(_WHY):
                    values[_WHY] = "; ".join(map(self.sentence, why.split("; ", _MOST_REASONS)))
                return translated % values
        return said

    def number(self, value: float | None) -> str:
        return "" if value is None else numbers.format_decimal(value, locale=self.locale)

    def money(self, value: Decimal | float | None) -> str:
        """Two digits behind the point; four where it has them, as a single call costs little."""
        return "" if value is None else numbers.format_decimal(value, "#,##0.00##", locale=self.locale)

    def when(self, moment: datetime | None) -> str:
        """Roughly, as a person says it; the exact time is in the element, which app.js turns to local time."""
        if moment is None:
            return ""
        said = dates.format_timedelta(moment - datetime.now(UTC), add_direction=True, locale=self.locale)
        return self._time(moment, said)

    def moment(self, moment: datetime | None) -> str:
        """Day and minute, UTC until app.js turns it to local time."""
        if moment is None:
            return ""
        return self._time(moment, self._exact(moment), exact=True)

    def _exact(self, moment: datetime) -> str:
        return dates.format_datetime(moment, _EXACT_TIME[self.code], tzinfo=UTC, locale=self.locale) + " UTC"

    def _time(self, moment: datetime, said: str, *, exact: bool = False) -> Markup:
        iso = moment.astimezone(UTC).isoformat(timespec="seconds")
        return (_EXACT if exact else _ROUGH).format(iso, self._exact(moment), said)


@lru_cache
def language(code: str) -> Language:
    """Read once a process. Raise FileNotFoundError for one that we have not."""
    if code == LANGUAGES[0]:
        said = NullTranslations()
        return Language(code, Locale.parse(code), said.gettext, said.ngettext)
    messages = _messages(code)
    texts = _translations(code, [message for message in messages if message.context is None])
    sentences = tuple(_sentence(message) for message in messages if message.context == "error")
    return Language(code, Locale.parse(code), texts.gettext, texts.ngettext, sentences)


def _messages(code: str) -> list[Message]:
    files = sorted(_LOCALES.glob(f"{code}*.po"))
    if not files:
        raise FileNotFoundError(_LOCALES / f"{code}.po")
    found: list[Message] = []
    for file in files:
        with file.open("rb") as opened:
            found += [each for each in read_po(opened, locale=code) if each.id and each.string and not each.fuzzy]
    return found


def _translations(code: str, messages: list[Message]) -> Translations:
    merged = Catalog(locale=code)
    for message in messages:
        merged.add(message.id, message.string)
    compiled = BytesIO()
    write_mo(compiled, merged)
    compiled.seek(0)
    return Translations(compiled)


def _sentence(message: Message) -> tuple[re.Pattern[str], str]:
    parts = _VALUE.split(str(message.id))
    written = [f"(?P<{part}>.+?)" if number % 2 else re.escape(part) for number, part in enumerate(parts)]
    return re.compile("".join(written), re.DOTALL), str(message.string)


def language_of(request: HTTPConnection) -> Language:
    return language(_asked_for(request.headers.get("Accept-Language", "")[:_LONGEST_HEADER]))


def _asked_for(header: str) -> str:
    """The first of ours by the browser's preference; English for everything else."""
    best, best_weight = LANGUAGES[0], 0.0
    for each in header.split(","):
        tag, _, rest = each.strip().partition(";")
        code = tag.strip().lower().partition("-")[0]
        weight = _weight(rest)
        if code in LANGUAGES and weight > best_weight:
            best, best_weight = code, weight
    return best


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
