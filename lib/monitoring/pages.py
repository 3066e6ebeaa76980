"""The site's pages as values. Pure: text in, frozen dataclasses out, and `Permanent` for what is no such page."""

import html as entities
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator
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
MAX_TAGS = 60_000
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
    soup = _soup(html)
    title, author = _title_and_author(soup)
    facts = _facts(soup)
    content, raw_html = _body(soup)
    form = next(_outside_texts(soup.select("form#comment-create")), None)
    if not content and not (title and (facts or form)):
        raise Permanent("The page holds no article: neither a title with its details nor a text")
    dated = (heading for heading in _outside_texts(soup.find_all("h6")) if not heading.find_parent(class_="comment"))
    return ArticlePage(
        title=title,
        author=author,
        edited_at=next(filter(None, (parse_german_date(_line(heading)) for heading in dated)), None),
        category=facts.get("kategorie", ""),
        task=facts.get("aufgabe", ""),
        likes=_number(facts.get("likes", "")),
        views=_number(facts.get("views", "")),
        content=content,
        raw_html=raw_html,
        comments=tuple(_comment(card) for card in _outside_texts(soup.select(".comment .card"))),
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
_BLOCK_TAGS = ("p", "div", "li", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "tr", "table")
# Stand for a paragraph's edge and a <br> while a tree becomes text; `clean` has left none of them in it.
_EDGE, _BREAK = "\x1e", "\x1f"


def clean(text: str) -> str:
    """Without control characters other than newline and tab."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _line(tag: "Tag") -> str:
    return _BLANKS.sub(" ", clean(tag.get_text())).strip()[:MAX_LINE]


def _paragraphs(tag: "Tag") -> str:
    """The text of a tag, a blank line between blocks and a newline at each <br>. Changes the tree."""
    for line_break in tag.find_all("br"):
        line_break.replace_with(_BREAK)
    for block in tag.find_all(_BLOCK_TAGS):
        block.insert_before(_EDGE)
        block.insert_after(_EDGE)
    blocks = (_BLANKS.sub(" ", block) for block in tag.get_text().split(_EDGE))
    lines = ("\n".join(clean(line).strip() for line in block.split(_BREAK)).strip() for block in blocks)
    return "\n\n".join(filter(None, lines))


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


def _outside_texts(tags: "Iterable[Tag]") -> "Iterator[Tag]":
    """Only what the site made: a pupil's rich text may imitate a comment, a form or a heading."""
    return (tag for tag in tags if not tag.find_parent(class_=["highlight-target", "card-text"]))


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


def _title_and_author(soup: "BeautifulSoup") -> tuple[str, str]:
    heading = next(_outside_texts(soup.find_all("h1")), None)
    line = _line(heading) if heading else ""
    title, by, author = line.rpartition(" von ")
    return (title, author) if by else (line, "")


def _facts(soup: "BeautifulSoup") -> dict[str, str]:
    facts: dict[str, str] = {}
    for item in _outside_texts(soup.select("li.list-group-item")):
        name, colon, value = _line(item).partition(":")
        if colon:
            facts.setdefault(name.strip().lower(), value.strip())
    return facts


def _number(text: str) -> int:
    found = re.match(r"[0-9]{1,9}", text)
    return int(found[0]) if found else 0


def _body(soup: "BeautifulSoup") -> tuple[str, str]:
    """The article as text and as HTML; the text-to-speech field stands in where nothing else holds it."""
    targets = soup.select(".article .highlight-target")
    bodies = [target for target in targets if not target.find_parent(class_="highlight-target")]
    fallback = soup.select_one("textarea#text-to-speech")
    if not any(body.find("p") for body in bodies) and fallback is not None:
        text = clean(fallback.get_text()).strip()
        if text:
            return text, clean(fallback.decode_contents()).strip()
    raw_html = "\n".join(clean(body.decode_contents()).strip() for body in bodies)
    return "\n\n".join(filter(None, map(_paragraphs, bodies))), raw_html


def _comment(card: "Tag") -> SiteComment:
    links = (link for link in card.find_all("a", href=_COMMENT_LINK) if not link.find_parent(class_="card-text"))
    own = next((_COMMENT_LINK.match(str(link.get("href"))) for link in links), None)
    author = card.select_one("h5.card-title")
    dated = next((heading for heading in card.find_all("h6") if not heading.find_parent(class_="card-text")), None)
    return SiteComment(
        id=own[1] if own else None,
        author=_line(author).removeprefix("von ").strip() if author else "",
        text="\n\n".join(filter(None, (_paragraphs(text) for text in card.select(".card-text")))),
        posted_at=parse_german_date(_line(dated)) if dated else None,
    )


_COMMENT_LINK = re.compile(r"^(?:https?://[^/]+)?/comment/([0-9]{1,18})/?(?:[?#]|$)")


# Our own comments

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*>")


def comparable(text: str) -> str:
    """A comment's text as it looks on a page, however the site stored it: no tags, entities or spacing; NFC."""
    plain = _TAG.sub(lambda tag: " " if tag[2].lower() in (*_BLOCK_TAGS, "br") else "", entities.unescape(text))
    return " ".join(clean(unicodedata.normalize("NFC", plain)).split())


def find_own(
    comments: Iterable[SiteComment], text: str, exclude_ids: Collection[str] = (), *, without_id: bool = True
) -> SiteComment | None:
    """The first comment that reads like ours and has an id that is not another's of ours.

    `without_id`: accept one whose id the page does not show, if there is no other. It may be somebody else's with
    the same words, so leave it out where two logins could have posted the same text.
    """
    wanted = comparable(text)
    same = [comment for comment in comments if comparable(comment.text) == wanted]
    ours = (comment for comment in same if comment.id is not None and comment.id not in exclude_ids)
    unsigned = (comment for comment in same if comment.id is None and without_id)
    return next(ours, None) or next(unsigned, None)


def placeholder_id(article_id: str, posted_at: datetime, comment_id: object) -> str:
    """Stands for a comment's id where the page shows none: article, Unix time, first 8 of our own UUID."""
    return f"{article_id}-{int(posted_at.timestamp())}-{str(comment_id)[:8]}"
