"""The site's pages as values. Pure: text in, frozen dataclasses out, and `Permanent` for what is no such page."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from lib.errors import Permanent

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag
    from bs4.filter import SoupStrainer

# A page beyond these would hold the event loop for seconds; the site's own are a hundredth of it.
MAX_CHARS = 6_000_000
MAX_TAGS = 100_000
MAX_LINE = 500

STATES = ("entwurf", "lehrpersonenkontrolle", "publiziert")
ZURICH = "Europe/Zurich"


@dataclass(frozen=True)
class Tab:
    id: str
    name: str


@dataclass(frozen=True)
class IndexEntry:
    """One article in an index. What the view does not show is an empty string or None.

    `state`: one of STATES or "". `edited_at`: UTC; at midnight in Zurich where the view gives a day alone.
    """

    article_id: str
    title: str
    author: str = ""
    state: str = ""
    edited_at: datetime | None = None
    category: str = ""
    task: str = ""
    visibility: str = ""
    classroom: str = ""


@dataclass(frozen=True)
class Index:
    tabs: tuple[Tab, ...]
    entries: tuple[IndexEntry, ...]
    tab_found: bool


@dataclass(frozen=True)
class SiteComment:
    """A comment under an article. `id`: only on one's own; `text`: plain."""

    id: str | None
    author: str
    text: str
    posted_at: datetime | None = None


@dataclass(frozen=True)
class ArticlePage:
    """An article and its comments.

    `edited_at`: UTC, the only time that the page gives. `content`: plain text, a blank line between paragraphs.
    `csrf_token`: of the comment form; None where nobody may comment.
    """

    title: str
    author: str
    edited_at: datetime | None
    category: str
    task: str
    likes: int
    views: int
    content: str
    raw_html: str
    comments: tuple[SiteComment, ...]
    csrf_token: str | None


def read_index(html: str, tab_id: str) -> Index:
    """The entries of one tab, in the pupil's or the teacher's view."""
    pane_id = f"pills-{tab_id}"
    soup = _soup(html, _ids("pills-tab", pane_id))
    tabs = tuple(_tabs(soup))
    pane = soup.find("div", id=pane_id)
    if tabs and tab_id not in {tab.id for tab in tabs}:
        pane = None
    entries: dict[str, IndexEntry] = {}
    for link in pane.find_all("a", href=_ARTICLE_LINK) if pane else ():
        entry = _entry(link)
        if entry:
            entries.setdefault(entry.article_id, entry)
    return Index(tabs, tuple(entries.values()), tab_found=pane is not None)


def read_article(html: str) -> ArticlePage:
    """An article's page; Permanent if it is none."""
    tags = list(_site_tags(_soup(html)))
    title, author = _title_and_author(tags)
    facts = _facts(tags)
    content, raw_html = _body(tags)
    form = next((tag for tag in tags if tag.name == "form" and tag.get("id") == "comment-create"), None)
    if not content and not (title and (facts or form)):
        raise Permanent("The page holds no article: neither a title with its details nor a text")
    return ArticlePage(
        title=title,
        author=author,
        edited_at=_date_in([tag for tag in tags if tag.name == "h6" and not _is_within(tag, "comment")]),
        category=facts.get("kategorie", ""),
        task=facts.get("aufgabe", ""),
        likes=_number(facts.get("likes", "")),
        views=_number(facts.get("views", "")),
        content=content,
        raw_html=raw_html,
        comments=tuple(_comment(tag) for tag in tags if _has_class(tag, "card") and _is_within(tag, "comment")),
        csrf_token=_token(form) if form else None,
    )


def read_csrf(html: str) -> str | None:
    """The token of the log-in form, or of whichever form has one."""
    soup = _soup(html, _forms())
    fields = soup.find_all("form")
    with_password = [form for form in fields if form.find("input", attrs={"name": "password"})]
    return next(filter(None, map(_token, [*with_password, *fields])), None)


def is_logged_in(html: str) -> bool:
    """Whether the page offers to log out, which is the site's only sign of a session."""
    return "/accounts/logout/" in html and _soup(html, _forms()).find("form", action="/accounts/logout/") is not None


def is_login_page(html: str) -> bool:
    """Whether the page asks for a username and a password."""
    if "password" not in html:
        return False
    return any(
        form.find("input", attrs={"name": "username"}) and form.find("input", attrs={"name": "password"})
        for form in _soup(html, _forms()).find_all("form")
    )


# Dates

_MONTHS = {"jan": 1, "jän": 1, "feb": 2, "mär": 3, "mae": 3, "mrz": 3, "apr": 4, "mai": 5, "jun": 6}
_MONTHS |= {"jul": 7, "aug": 8, "sep": 9, "okt": 10, "nov": 11, "dez": 12}
_DATE = re.compile(
    r"(?<![0-9.])([0-9]{1,2})\.\s{0,3}(?:([0-9]{1,2})\.\s{0,3}|([^\W\d_]{3,9})\.?\s{1,3})([0-9]{4})(?![0-9])"
    r"(?:,?\s{0,3}(?:um\s{1,3})?([0-9]{1,2}):([0-9]{2})(?![0-9]))?"
)


def parse_german_date(text: str) -> datetime | None:
    """The first "4. Februar 2026", "04.02.2026 um 18:04 Uhr" or "1. April 2026, 10:39" in a text, as UTC."""
    for found in _DATE.finditer(unicodedata.normalize("NFC", text[:MAX_LINE])):
        day, month_number, month_name, year, hour, minute = found.groups()
        month = int(month_number) if month_number else _MONTHS.get(month_name.lower()[:3], 0)
        try:
            local = datetime(int(year), month, int(day), int(hour or 0), int(minute or 0), tzinfo=_zurich())
            return local.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None


@lru_cache(1)
def _zurich() -> ZoneInfo:
    return ZoneInfo(ZURICH)


# Texts

# PostgreSQL refuses NUL and lone surrogates; the rest of them nobody wrote on purpose.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_BLANKS = re.compile(r"[ \t\n\u00a0]+")
BLOCK_TAGS = frozenset(
    ("p", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "tr", "table")
)
# Stand for a paragraph's edge and a <br> while a tree becomes text; `clean` has left none of them in it.
_EDGE, _BREAK = "\x1e", "\x1f"


def clean(text: str) -> str:
    """Without control characters other than newline and tab."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _line(tag: "Tag") -> str:
    return _BLANKS.sub(" ", clean(tag.get_text())).strip()[:MAX_LINE]


def _paragraphs(tag: "Tag") -> str:
    """The text of a tag, a blank line between blocks and a newline at each <br>."""
    blocks = (_BLANKS.sub(" ", block) for block in "".join(_pieces(tag)).split(_EDGE))
    lines = ("\n".join(clean(line).strip() for line in block.split(_BREAK)).strip() for block in blocks)
    return "\n\n".join(filter(None, lines))


def _pieces(root: "Tag") -> "Iterator[str]":
    from bs4.element import NavigableString, Tag  # noqa: PLC0415

    waiting: list[object] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Tag):
            edge = [_EDGE] if node.name in BLOCK_TAGS else []
            waiting += [*edge, *reversed(node.contents)]
            yield from [_BREAK] if node.name == "br" else edge
        elif type(node) in (NavigableString, str):  # comments and scripts are subclasses
            yield str(node)


# Trees


def _soup(html: str, only: "SoupStrainer | None" = None) -> "BeautifulSoup":
    from bs4 import BeautifulSoup, ParserRejectedMarkup  # noqa: PLC0415 - only who reads a page needs it
    from lxml.etree import LxmlError  # type: ignore[import-untyped]  # noqa: PLC0415

    if len(html) > MAX_CHARS or html.count("<") > MAX_TAGS:
        raise Permanent(f"The page is too large to read: {len(html):,} characters, {html.count('<'):,} tags")
    # "<?" would make the parser warn of XML, a first line without a tag of a file name.
    markup = "\n" + clean(html).replace("<?", "&lt;?")
    try:
        return BeautifulSoup(markup, "lxml", parse_only=only)
    except (ParserRejectedMarkup, LxmlError, ValueError, AssertionError, RecursionError) as error:
        raise Permanent(f"The page cannot be read as HTML: {str(error)[:200]}") from error


def _ids(*ids: str) -> "SoupStrainer":
    from bs4.filter import SoupStrainer  # noqa: PLC0415

    return SoupStrainer(id=list(ids))


def _forms() -> "SoupStrainer":
    from bs4.filter import SoupStrainer  # noqa: PLC0415

    return SoupStrainer("form")


def _site_tags(root: "Tag") -> "Iterator[Tag]":
    """What the site made, in order: not what is in a text, since rich text may imitate a comment or a form."""
    from bs4 import Tag  # noqa: PLC0415

    waiting = [root]
    while waiting:
        tag = waiting.pop()
        yield tag
        if not _has_class(tag, "highlight-target") and not _has_class(tag, "card-text"):
            waiting += [child for child in reversed(tag.contents) if isinstance(child, Tag)]


def _has_class(tag: "Tag", name: str) -> bool:
    return name in (tag.attrs.get("class") or ())


def _is_within(tag: "Tag", name: str) -> bool:
    return any(_has_class(parent, name) for parent in tag.parents)


def _date_in(tags: "Iterable[Tag]") -> datetime | None:
    return next(filter(None, (parse_german_date(_line(tag)) for tag in tags)), None)


def _token(form: "Tag") -> str | None:
    field = form.find("input", attrs={"name": "csrfmiddlewaretoken"})
    return clean(str(field.get("value") or "")) or None if field else None


# The index

_ARTICLE_LINK = re.compile(r"^(?:https?://[^/]+)?/article/([0-9]{1,18})/?(?:[?#]|$)")
_TEACHER_CELLS = 7


def _tabs(soup: "BeautifulSoup") -> "Iterator[Tab]":
    for button in soup.select("#pills-tab button[role=tab]"):
        target = str(button.get("data-bs-target") or "")
        if target.startswith("#pills-"):
            yield Tab(clean(target.removeprefix("#pills-")), _line(button))


def _entry(link: "Tag") -> IndexEntry | None:
    found = _ARTICLE_LINK.match(str(link.get("href")))
    row = link.find_parent("tr")
    if found is None:
        return None
    return _row(found[1], link, row) if row else _card(found[1], link)


def _row(article_id: str, link: "Tag", row: "Tag") -> IndexEntry | None:
    cells = row.find_all("td", recursive=False)
    first = next((place for place, cell in enumerate(cells) if cell in link.parents), 0)
    if len(cells) - first < _TEACHER_CELLS:
        return None
    author, visibility, category, task, state, date = map(_line, cells[first + 1 : first + _TEACHER_CELLS])
    return IndexEntry(
        article_id,
        _line(link),
        author,
        state.lower() if state.lower() in STATES else "",
        parse_german_date(date),
        category,
        task,
        visibility=visibility,
    )


def _card(article_id: str, link: "Tag") -> IndexEntry:
    lines: dict[str, str] = {}
    state = ""
    for part in link.find_all(class_=True):
        for name in part.get_attribute_list("class"):
            lines.setdefault(str(name), _line(part))
            state = state or (str(name) if name in STATES else "")
    return IndexEntry(
        article_id,
        lines.get("article-title") or _line(link),
        lines.get("article-author", ""),
        state,
        parse_german_date(lines.get("article-date", "")),
        classroom=lines.get("article-classroom", ""),
    )


# The article


def _title_and_author(tags: "list[Tag]") -> tuple[str, str]:
    line = next((_line(tag) for tag in tags if tag.name == "h1"), "")
    title, by, author = line.rpartition(" von ")
    return (title, author) if by else (line, "")


def _facts(tags: "list[Tag]") -> dict[str, str]:
    facts: dict[str, str] = {}
    for item in tags:
        if item.name == "li" and _has_class(item, "list-group-item"):
            name, _, value = _line(item).partition(":")
            facts.setdefault(name.strip().lower(), value.strip())
    return facts


def _number(text: str) -> int:
    found = re.match(r"[0-9]{1,9}", text)
    return int(found[0]) if found else 0


def _body(tags: "list[Tag]") -> tuple[str, str]:
    """The article as text and as HTML; the text-to-speech field stands in where nothing else holds it."""
    bodies = [tag for tag in tags if _has_class(tag, "highlight-target") and _is_within(tag, "article")]
    spoken = next((tag for tag in tags if tag.name == "textarea" and tag.get("id") == "text-to-speech"), None)
    if spoken is not None and not any(body.find("p") for body in bodies):
        text = clean(spoken.get_text()).strip()
        if text:
            return text, clean(spoken.decode_contents()).strip()
    raw_html = "\n".join(clean(body.decode_contents()).strip() for body in bodies)
    return "\n\n".join(filter(None, map(_paragraphs, bodies))), raw_html


_COMMENT_LINK = re.compile(r"^(?:https?://[^/]+)?/comment/([0-9]{1,18})/?(?:[?#]|$)")


def _comment(card: "Tag") -> SiteComment:
    tags = list(_site_tags(card))
    links = (_COMMENT_LINK.match(str(tag.get("href") or "")) for tag in tags if tag.name == "a")
    author = next((_line(tag) for tag in tags if tag.name == "h5" and _has_class(tag, "card-title")), "")
    own = next(filter(None, links), None)
    return SiteComment(
        id=own[1] if own else None,
        author=author.removeprefix("von ").strip(),
        text="\n\n".join(filter(None, (_paragraphs(tag) for tag in tags if _has_class(tag, "card-text")))),
        posted_at=_date_in([tag for tag in tags if tag.name == "h6"]),
    )
