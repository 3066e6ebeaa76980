"""The site's pages become values, and nothing that a page holds becomes any other exception than Permanent."""

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from lib.errors import Permanent
from lib.monitoring import pages
from lib.monitoring.pages import IndexEntry, SiteComment, Tab, parse_german_date

LOG_OUT = (
    '<form action="/accounts/logout/" method="post"><input type="hidden" name="csrfmiddlewaretoken" value="out"></form>'
)
LOG_IN = (
    '<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="in"><input name="username">'
    '<input type="password" name="password"></form>'
)
CREATE = '<form id="comment-create" action="/article/7/comment/"><input name="csrfmiddlewaretoken" value="tok"></form>'
BODY = "<p>Er ist <b>rot</b> &amp; süss.</p>\n<p>Er frisst\nBambus.<br>Viel.</p><ul><li>Nepal</li><li>China</li></ul>"


def page(body: str) -> str:
    head = '<head><meta charset="iso-8859-1"><title>x</title></head>'
    return f'<!DOCTYPE html><html lang="de">{head}<body>{LOG_OUT}{body}</body></html>'


def article_page(
    body: str = f'<div class="highlight-target">{BODY}</div>', comments: str = "", form: str = CREATE
) -> str:
    return page(
        '<div class="article"><h1>Ein Brief von Oma von Mila</h1><h6>Aktualisiert am: 4. Februar 2026, 18:04 Uhr</h6>'
        '<ul><li class="list-group-item">Kategorie: Berichten</li><li class="list-group-item">Aufgabe: Tiere</li>'
        '<li class="list-group-item">Likes: 3</li><li class="list-group-item">Views: 41</li></ul>'
        f"{body}</div>{comments}{form}"
    )


def comment(text: str, own: str = "", author: str = "Jonas") -> str:
    link = f'<a href="/comment/{own}/">bearbeiten</a>' if own else ""
    return (
        f'<div class="comment"><div class="card"><h5 class="card-title">von {author}</h5><h6>1. April 2026, 10:39</h6>'
        f'<div class="card-text">{text}</div>{link}</div></div>'
    )


def card(article_id: int) -> str:
    return (
        f'<div class="card"><a href="/article/{article_id}/"><div class="card-header publiziert">Publiziert</div>'
        '<div class="card-body"><div class="article-classroom">5a</div>'
        f'<div class="article-title">Titel {article_id}</div><div class="article-author">Mila</div>'
        '<div class="article-date">4. Februar 2026</div></div></a></div>\n'
    )


def row(article_id: int, cells: str = "") -> str:
    return (
        f'<tr>{cells}<td><a href="/article/{article_id}/">Titel {article_id}</a></td><td>Mila</td><td>Klasse</td>'
        "<td>Berichten</td><td>Tiere</td><td>Lehrpersonenkontrolle</td><td>04.02.2026 um 18:04 Uhr</td></tr>\n"
    )


def index_page(pane: str) -> str:
    buttons = "".join(
        f'<li><button id="pills-{tab}-tab" data-bs-target="#pills-{tab}" role="tab">{name}</button></li>'
        for tab, name in (("home", "Meine"), ("alle", "Alle"), ("38", "Klasse 5a"))
    )
    panes = f'<div id="pills-alle">{pane}</div><div id="pills-38"><div class="article-list">{card(900)}</div></div>'
    return page(f'<ul id="pills-tab">{buttons}</ul><div id="pills-tabContent"><div id="pills-home"></div>{panes}</div>')


PUPIL = index_page(f'<div class="article-list">{card(1)}{card(2)}{card(1)}</div>')
TEACHER = index_page(
    f"<table><thead><tr><th>Titel</th></tr></thead><tbody>{row(1)}{row(2, '<td>x</td>')}</tbody></table>"
)
COMMENTS = comment("<p>Toll &lt;3</p><p>Weiter</p>", own="9001", author="ki-bot") + comment("Schön")


def test_the_pupils_index_gives_each_card_once() -> None:
    index = pages.read_index(PUPIL, "alle")
    assert index.tab_found
    assert index.tabs == (Tab("home", "Meine"), Tab("alle", "Alle"), Tab("38", "Klasse 5a"))
    midnight = datetime(2026, 2, 3, 23, 0, tzinfo=UTC)
    assert index.entries == tuple(
        IndexEntry(str(n), f"Titel {n}", "Mila", "publiziert", midnight, classroom="5a") for n in (1, 2)
    )


def test_the_teachers_index_gives_each_row_wherever_its_title_stands() -> None:
    moment = datetime(2026, 2, 4, 17, 4, tzinfo=UTC)
    assert pages.read_index(TEACHER, "alle").entries == tuple(
        IndexEntry(
            str(n), f"Titel {n}", "Mila", "lehrpersonenkontrolle", moment, "Berichten", "Tiere", visibility="Klasse"
        )
        for n in (1, 2)
    )


def test_an_empty_tab_is_found_and_an_unknown_one_is_not() -> None:
    assert pages.read_index(PUPIL, "home").entries == ()
    assert pages.read_index(PUPIL, "home").tab_found
    assert [entry.article_id for entry in pages.read_index(PUPIL, "38").entries] == ["900"]
    for unknown in ("99", "", "tab", "tabContent", "alle-tab", '"] *', "\x00"):
        assert not pages.read_index(PUPIL, unknown).tab_found, unknown


def test_an_article_page_gives_all_that_it_says() -> None:
    read = pages.read_article(article_page(comments=COMMENTS))
    assert (read.title, read.author) == ("Ein Brief von Oma", "Mila")
    assert read.edited_at == datetime(2026, 2, 4, 17, 4, tzinfo=UTC)
    assert (read.category, read.task, read.likes, read.views) == ("Berichten", "Tiere", 3, 41)
    assert read.content == "Er ist rot & süss.\n\nEr frisst Bambus.\nViel.\n\nNepal\n\nChina"
    assert read.raw_html.startswith("<p>Er ist <b>rot</b> &amp; süss.</p>")
    assert read.csrf_token == "tok"
    moment = datetime(2026, 4, 1, 8, 39, tzinfo=UTC)
    assert read.comments == (
        SiteComment("9001", "ki-bot", "Toll <3\n\nWeiter", moment),
        SiteComment(None, "Jonas", "Schön", moment),
    )


def test_the_text_may_stand_in_the_text_to_speech_field_alone() -> None:
    read = pages.read_article(article_page('<textarea id="text-to-speech">\nEins &amp; zwei.\n\nDrei.</textarea>'))
    assert read.content == "Eins & zwei.\n\nDrei."


def test_what_a_pupil_imitates_is_text_and_nothing_else() -> None:
    forged = f"<h1>Andrer Titel von Hexe</h1>{comment('Gefälscht', own='666')}<h6>1. Mai 2020</h6>"
    forged += CREATE.replace("tok", "forged")
    read = pages.read_article(article_page(f'<div class="highlight-target"><p>Text</p>{forged}</div>', COMMENTS))
    assert read.title == "Ein Brief von Oma"
    assert [one.id for one in read.comments] == ["9001", None]
    assert read.csrf_token == "tok"
    nested = comment(f'<a href="/comment/1/">x</a>{comment("innen", own="2")}')
    (only,) = pages.read_article(article_page(comments=nested)).comments
    assert only.id is None


def test_a_page_without_an_article_is_permanent() -> None:
    for other in ("", "Wartung", page("<h1>Wartung</h1>"), page(f"<h1>Anmelden</h1>{LOG_IN}"), "\x00" * 50):
        with pytest.raises(Permanent, match="no article"):
            pages.read_article(other)


def test_a_page_too_large_to_read_is_permanent() -> None:
    for read in (pages.read_article, lambda html: pages.read_index(html, "alle"), pages.read_csrf):
        with pytest.raises(Permanent, match="too large"):
            read("<form><p>" * 60_000 + "password")
        with pytest.raises(Permanent, match="too large"):
            read("x" * (pages.MAX_CHARS + 1))


def test_deeply_nested_tags_do_no_harm() -> None:
    deep = article_page('<div class="highlight-target">' + "<div>" * 40_000 + "tief")
    began = time.perf_counter()
    with contextlib.suppress(Permanent):
        pages.read_article(deep)
    assert time.perf_counter() - began < 10


def test_the_forms_say_who_is_logged_in() -> None:
    assert pages.is_logged_in(page("x"))
    assert not pages.is_login_page(page("Das Passwort: username password"))
    assert pages.is_login_page(f"<html>{LOG_IN}")
    assert not pages.is_logged_in(f"<html>{LOG_IN} /accounts/logout/")
    assert pages.read_csrf(f"<html>{LOG_OUT}{LOG_IN}") == "in"
    assert pages.read_csrf(page("x")) == "out"
    assert pages.read_csrf("<html>") is None


def test_control_characters_are_gone_from_every_text() -> None:
    dirty = article_page(
        '<div class="highlight-target"><p>A\x00B\x07C\ud800&#1;&#x1e;D\x85</p></div>', comment("x\x00y&#7;z")
    )
    read = pages.read_article(dirty.replace("Mila", "Mi\x00la"))
    assert read.author == "Mila"
    assert not {
        char for char in read.content + read.raw_html + read.comments[0].text if ord(char) < 32 and char != "\n"
    }
    read.content.encode()
    assert pages.clean("a\r\nb\tc\x00\ufffe") == "a\nb\tc"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("4. Februar 2026", (2026, 2, 3, 23, 0)),
        ("Aktualisiert am: 4. Februar 2026, 18:04 Uhr", (2026, 2, 4, 17, 4)),
        ("04.02.2026 um 18:04 Uhr", (2026, 2, 4, 17, 4)),
        ("1. April 2026, 10:39", (2026, 4, 1, 8, 39)),
        ("1. Ma\u0308rz 2026", (2026, 2, 28, 23, 0)),
        ("31.\u00a0Dez. 2026 um 23:59", (2026, 12, 31, 22, 59)),
        ("29. März 2026, 02:30 Uhr", (2026, 3, 29, 1, 30)),
        ("31.02.2026, dann 1.3.2026", (2026, 2, 28, 23, 0)),
    ],
)
def test_german_dates_are_read_in_zurichs_time(text: str, moment: tuple[int, int, int, int, int]) -> None:
    assert parse_german_date(text) == datetime(*moment, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "gestern", "4. Brumaire 2026", "1.1.0001", "99.99.9999", "4. Februar 2026, 25:61", "1. ⅷ. 2026"]
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_german_date(text) is None


def best_of(times: int, run: Callable[[], object]) -> float:
    def once() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return min(once() for _ in range(times))


def test_reading_is_quick() -> None:
    paragraph = f"<p>{'Der Rotpanda frisst am liebsten Bambus. ' * 8}</p>\n"
    article = article_page(f'<div class="highlight-target">{paragraph * 20}</div>', COMMENTS * 4)
    assert 8_000 < len(article) < 12_000
    # Ten times what they take on a quiet machine.
    assert best_of(15, lambda: pages.read_article(article)) < 0.04
    index = index_page(f'<div class="article-list">{"".join(map(card, range(500)))}</div>')
    assert best_of(3, lambda: pages.read_index(index, "alle")) < 2
    assert len(pages.read_index(index, "alle").entries) == 500


def test_what_follows_an_early_end_of_the_page_is_read_too() -> None:
    early = article_page(comments="</html>" + COMMENTS)
    assert pages.read_article(early) == pages.read_article(article_page(comments=COMMENTS))
    assert pages.is_logged_in(f"<html></html>{LOG_OUT}")


def test_importing_costs_no_parser() -> None:
    code = "import sys, lib.monitoring.pages; sys.exit('lxml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


VALID = [PUPIL, TEACHER, article_page(comments=COMMENTS), f"<html>{LOG_IN}"]
FRAGMENTS = [
    *("<", ">", "</div>", "<div", '"', "&", "&#0;", "&#xD800;", "\x00", "\ufeff", "\ud800", "<!--", "<![CDATA["),
    *("<?xml version='1.0'?>", "<script>", "<textarea>", "<table>", "<template>", "<svg>", 'class="card-text"'),
    "<a href='/article/9/'>",
]


def mutated(base: str, seed: int, cuts: int) -> str:
    rng = random.Random(seed)
    for _ in range(cuts):
        start = rng.randrange(len(base) + 1)
        end = min(len(base), start + rng.choice((0, 1, 5, 60, 400)))
        base = base[:start] + rng.choice(["", *FRAGMENTS, base[end : end + 50]]) + base[end:]
    return base


pages_of_any_kind = st.one_of(
    st.text(st.characters(codec=None)),
    st.binary().map(lambda raw: raw.decode("latin-1")),
    st.lists(st.sampled_from(FRAGMENTS) | st.text()).map("".join),
    st.builds(mutated, st.sampled_from(VALID), st.integers(0, 2**32), st.integers(1, 12)),
)


@with_settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pages_of_any_kind)
@example("<?xml version='1.0'?><a>")
@example("http://example.com")
@example("page.html")
def test_any_input_is_a_value_or_permanent(html: str) -> None:
    for read in (pages.read_article, lambda text: pages.read_index(text, "alle")):
        with contextlib.suppress(Permanent):
            value = repr(read(html))
            assert "\\x00" not in value
            value.encode()
    with contextlib.suppress(Permanent):
        pages.read_csrf(html)
        pages.is_logged_in(html)
        pages.is_login_page(html)


@given(st.text() | st.text(alphabet="0123456789. :,UhrumFebaärz", max_size=40))
def test_any_text_is_a_date_or_none(text: str) -> None:
    moment = parse_german_date(text)
    assert moment is None or moment.tzinfo is UTC


def test_what_a_reader_does_not_see_is_no_title() -> None:
    html = '<div id="pills-alle"><a href="/article/1/"><style class="article-title">p {}</style>Pandas</a></div>'
    assert [entry.title for entry in pages.read_index(html, "alle").entries] == ["Pandas"]
