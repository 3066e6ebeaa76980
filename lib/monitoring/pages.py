"""The site's pages as values. Pure: text in, frozen dataclasses out, and `Permanent` for what is no such page."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from lib.errors import Permanent

Tag = Any  # an element of lxml, which has no types

# A page beyond these would hold the event loop for seconds; the site's own are a hundredth of it.
MAX_CHARS = 6_000_000
MAX_TAGS = 100_000
MAX_LINE = 500

STATES = ("entwurf", "lehrpersonenkontrolle", "publiziert")
ZURICH = "Europe/Zurich"
LOG_OUT = "/accounts/logout/"


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
    page = _tree(html)
    tabs = tuple(_tabs(page))
    pane = next((tag for tag in page.iter("div") if tag.get("id") == pane_id), None)
    if tabs and tab_id not in {tab.id for tab in tabs}:
        pane = None
    entries: dict[str, IndexEntry] = {}
    for link in pane.iter("a") if pane is not None else ():
        entry = _entry(link)
        if entry:
            entries.setdefault(entry.article_id, entry)
    return Index(tabs, tuple(entries.values()), tab_found=pane is not None)


def read_article(html: str) -> ArticlePage:
    """An article's page; Permanent if it is none."""
    tags = list(_site_tags(_tree(html)))
    title, author = _title_and_author(tags)
    facts = _facts(tags)
    content, raw_html = _body(tags)
    form = next((tag for tag in tags if tag.tag == "form" and tag.get("id") == "comment-create"), None)
    if not content and not (title and (facts or form is not None)):
        raise Permanent("The page holds no article: neither a title with its details nor a text")
    return ArticlePage(
        title=title,
        author=author,
        edited_at=_date_in([tag for tag in tags if tag.tag == "h6" and not _is_within(tag, "comment")]),
        category=facts.get("kategorie", ""),
        task=facts.get("aufgabe", ""),
        likes=_number(facts.get("likes", "")),
        views=_number(facts.get("views", "")),
        content=content,
        raw_html=raw_html,
        comments=tuple(_comment(tag) for tag in tags if _has_class(tag, "card") and _is_within(tag, "comment")),
        csrf_token=_token(form) if form is not None else None,
    )


def read_csrf(html: str) -> str | None:
    """The token of the log-in form, or of whichever form has one."""
    forms = list(_tree(html).iter("form"))
    with_password = [form for form in forms if _field(form, "password") is not None]
    return next(filter(None, map(_token, [*with_password, *forms])), None)


def is_logged_in(html: str) -> bool:
    """Whether the page offers to log out, which is the site's only sign of a session."""
    if LOG_OUT not in html:
        return False
    return any(form.get("action") == LOG_OUT for form in _tree(html).iter("form"))


def is_login_page(html: str) -> bool:
    """Whether the page asks for a username and a password."""
    if "password" not in html:
        return False
    forms = _tree(html).iter("form")
    return any(_field(form, "username") is not None and _field(form, "password") is not None for form in forms)


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
_UNSEEN = frozenset(("script", "style", "template"))
# Stand for a paragraph's edge and a <br> while a tree becomes text; `clean` has left none of them in it.
_EDGE, _BREAK = "\x1e", "\x1f"


def clean(text: str) -> str:
    """Without control characters other than newline and tab."""
    return _CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def _line(tag: Tag) -> str:
    is_plain = not len(tag) and tag.tag not in _UNSEEN  # as nearly all are: the walk takes longer than the rest
    text = tag.text or "" if is_plain else "".join(_texts(tag))
    return _BLANKS.sub(" ", clean(text)).strip()[:MAX_LINE]


def _paragraphs(tag: Tag) -> str:
    """The text of a tag, a blank line between blocks and a newline at each <br>."""
    blocks = (_BLANKS.sub(" ", block) for block in "".join(_texts(tag, _EDGE, _BREAK)).split(_EDGE))
    lines = ("\n".join(clean(line).strip() for line in block.split(_BREAK)).strip() for block in blocks)
    return "\n\n".join(filter(None, lines))


def _texts(root: Tag, edge: str = "", line_break: str = "") -> Iterator[str]:
    """The texts that a reader sees, in order, with `edge` around blocks and `line_break` for each <br>."""
    from lxml import etree  # noqa: PLC0415

    walk = etree.iterwalk(root, events=("start", "end"))
    for event, tag in walk:
        if tag.tag in BLOCK_TAGS:
            yield edge
        if event == "end":
            yield (tag.tail or "") if tag is not root else ""
        elif tag.tag in _UNSEEN:
            walk.skip_subtree()
        else:
            yield line_break if tag.tag == "br" else ""
            yield tag.text or ""


def _inner_html(tag: Tag) -> str:
    from lxml import etree  # noqa: PLC0415

    children = (etree.tostring(child, encoding="unicode", method="html") for child in tag)
    return clean(escape(tag.text or "", quote=False) + "".join(children)).strip()


# Trees

_TEXTS = frozenset(("highlight-target", "card-text"))


def _tree(html: str) -> Tag:
    """The root of a page; Permanent for what is too large or cannot be parsed."""
    from lxml import etree  # noqa: PLC0415 - only who reads a page needs it

    if len(html) > MAX_CHARS or html.count("<") > MAX_TAGS:
        raise Permanent(f"The page is too large to read: {len(html):,} characters, {html.count('<'):,} tags")
    # "<?" is no HTML, and with an encoding in it the parser would refuse the text.
    markup = clean(html).replace("<?", "&lt;?")
    parser = etree.HTMLParser(remove_comments=True, remove_pis=True, no_network=True, huge_tree=True)
    try:
        root = etree.HTML(markup, parser) if markup.strip() else None
    except (etree.LxmlError, ValueError, AssertionError) as error:
        raise Permanent(f"The page cannot be read as HTML: {str(error)[:200]}") from error
    if root is None:
        return etree.Element("html")
    # What follows an early </html> comes as a tree of its own; a browser shows it all the same.
    root.extend(list(root.itersiblings()))
    return root


def _site_tags(root: Tag) -> Iterator[Tag]:
    """What the site made, in order: not what is in a text, since rich text may imitate a comment or a form."""
    waiting = [root]
    while waiting:
        tag = waiting.pop()
        yield tag
        if _TEXTS.isdisjoint(_classes(tag)):
            waiting += reversed(tag)


def _classes(tag: Tag) -> list[str]:
    words: str = tag.get("class", "")
    return words.split()


def _has_class(tag: Tag, name: str) -> bool:
    return name in _classes(tag)


def _is_within(tag: Tag, name: str) -> bool:
    return any(_has_class(parent, name) for parent in tag.iterancestors())


def _date_in(tags: Iterable[Tag]) -> datetime | None:
    return next(filter(None, (parse_german_date(_line(tag)) for tag in tags)), None)


def _field(form: Tag, name: str) -> Tag | None:
    return next((field for field in form.iter("input") if field.get("name") == name), None)


def _token(form: Tag) -> str | None:
    field = _field(form, "csrfmiddlewaretoken")
    return None if field is None else clean(field.get("value", "")) or None


# The index

_ARTICLE_LINK = re.compile(r"^(?:https?://[^/]+)?/article/([0-9]{1,18})/?(?:[?#]|$)")
_TEACHER_CELLS = 7


def _tabs(page: Tag) -> Iterator[Tab]:
    lists = (tag for tag in page.iter("ul") if tag.get("id") == "pills-tab")
    for button in (button for tag in lists for button in tag.iter("button") if button.get("role") == "tab"):
        target = button.get("data-bs-target", "")
        if target.startswith("#pills-"):
            yield Tab(clean(target.removeprefix("#pills-")), _line(button))


def _entry(link: Tag) -> IndexEntry | None:
    found = _ARTICLE_LINK.match(link.get("href", ""))
    if found is None:
        return None
    row = next(link.iterancestors("tr"), None)
    return _card(found[1], link) if row is None else _row(found[1], link, row)


def _row(article_id: str, link: Tag, row: Tag) -> IndexEntry | None:
    cells = row.findall("td")
    around = set(link.iterancestors("td"))
    first = next((place for place, cell in enumerate(cells) if cell in around), 0)
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


def _card(article_id: str, link: Tag) -> IndexEntry:
    lines: dict[str, str] = {}
    state = ""
    for part in link.iterdescendants():
        for name in _classes(part):
            lines.setdefault(name, _line(part))
            state = state or (name if name in STATES else "")
    return IndexEntry(
        article_id,
        lines.get("article-title") or _line(link),
        lines.get("article-author", ""),
        state,
        parse_german_date(lines.get("article-date", "")),
        classroom=lines.get("article-classroom", ""),
    )


# The article


def _title_and_author(tags: list[Tag]) -> tuple[str, str]:
    line = next((_line(tag) for tag in tags if tag.tag == "h1"), "")
    title, by, author = line.rpartition(" von ")
    return (title, author) if by else (line, "")


def _facts(tags: list[Tag]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for item in tags:
        if item.tag == "li" and _has_class(item, "list-group-item"):
            name, _, value = _line(item).partition(":")
            facts.setdefault(name.strip().lower(), value.strip())
    return facts


def _number(text: str) -> int:
    found = re.match(r"[0-9]{1,9}", text)
    return int(found[0]) if found else 0


def _body(tags: list[Tag]) -> tuple[str, str]:
    """The article as text and as HTML; the text-to-speech field stands in where nothing else holds it."""
    bodies = [tag for tag in tags if _has_class(tag, "highlight-target") and _is_within(tag, "article")]
    spoken = next((tag for tag in tags if tag.tag == "textarea" and tag.get("id") == "text-to-speech"), None)
    if spoken is not None and not any(body.find(".//p") is not None for body in bodies):
        text = clean("".join(_texts(spoken))).strip()
        if text:
            return text, _inner_html(spoken)
    raw_html = "\n".join(map(_inner_html, bodies))
    return "\n\n".join(filter(None, map(_paragraphs, bodies))), raw_html


_COMMENT_LINK = re.compile(r"^(?:https?://[^/]+)?/comment/([0-9]{1,18})/?(?:[?#]|$)")


def _comment(card: Tag) -> SiteComment:
    tags = list(_site_tags(card))
    links = (_COMMENT_LINK.match(tag.get("href", "")) for tag in tags if tag.tag == "a")
    author = next((_line(tag) for tag in tags if tag.tag == "h5" and _has_class(tag, "card-title")), "")
    own = next(filter(None, links), None)
    return SiteComment(
        id=own[1] if own else None,
        author=author.removeprefix("von ").strip(),
        text="\n\n".join(filter(None, (_paragraphs(tag) for tag in tags if _has_class(tag, "card-text")))),
        posted_at=_date_in([tag for tag in tags if tag.tag == "h6"]),
    )
