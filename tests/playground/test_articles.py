import re
from datetime import UTC, datetime, timedelta
from itertools import chain

import httpx
import pytest

from playground.config import Config
from playground.scenery import CLASSES
from playground.serve import serving
from playground.texts import shipped
from tests.playground.visitor import Visitor

STATUSES = {"entwurf", "lehrpersonenkontrolle", "publiziert"}


def test_the_tabs_are_buttons_and_every_pane_is_in_the_page(bot: Visitor) -> None:
    page = bot.page("/articles/?tab=101")
    tabs = [button["data-bs-target"].removeprefix("#pills-") for button in page.select("ul#pills-tab button[role=tab]")]
    assert tabs[:4] == ["home", "alle", "101", "102"]
    assert all(page.select(f"div#pills-{tab}") for tab in tabs)


def test_a_pupil_sees_cards(bot: Visitor) -> None:
    cards = bot.page("/articles/?tab=101").select("#pills-101 > div.article-list > div > a")
    assert len(cards) == 6
    for card in cards:
        assert re.fullmatch(r"/article/\d+/", card["href"])
        assert STATUSES & set(card.select_one(".card-header")["class"])
        assert card.select_one(".article-classroom").text == "Klasse 4a"
        assert card.select_one(".article-title").text
        assert card.select_one(".article-author").text
        assert re.fullmatch(r"\d{1,2}\. [A-ZÄÖÜ][a-zäöü]+ \d{4}", card.select_one(".article-date").text)


def test_a_teacher_sees_a_table_of_the_same_articles(teacher: Visitor, bot: Visitor) -> None:
    rows = teacher.page("/articles/?tab=102").select("#pills-102 table tbody tr")
    assert len(rows) == 6
    for row in rows:
        assert len(row.select("td")) == 7
        assert re.fullmatch(r"\d\d\.\d\d\.\d{4} um \d\d:\d\d Uhr", row.select("td")[6].text)
    assert teacher.articles("102") == bot.articles("102")


def test_home_holds_ones_own_articles_and_alle_those_of_all_classes(stranger: Visitor, bot: Visitor) -> None:
    assert bot.articles("home") == []
    assert set(bot.articles("alle")) >= {*bot.articles("101"), *bot.articles("102")}
    stranger.log_in("mila")
    for article_id in stranger.articles("home"):
        assert stranger.page(f"/article/{article_id}/").h1.text.endswith("von Mila")


def test_filters_apply_to_the_tab_that_is_asked_for(bot: Visitor) -> None:
    everything = bot.articles("101")
    by_category = {n: bot.articles("101", f"&kategorie={n}") for n in (4, 14, 5, 6, 7, 8, 9)}
    assert sorted(chain(*by_category.values())) == sorted(everything)
    by_task = {n: bot.articles("101", f"&aufgabe={n}") for n in (4, 10, 12, 13)}
    assert sorted(chain(*by_task.values())) == sorted(everything)
    page = bot.page("/articles/?tab=101&kategorie=6")
    assert len(page.select("#pills-102 .card")) == 6


def test_a_person_changes_tabs_by_their_buttons(bot: Visitor) -> None:
    page = bot.page("/articles/?tab=101")
    assert not page.select("#choice input[name=tab]")
    assert page.select_one("#choice button")["value"] == "101"
    assert page.select_one("#pills-tab button.active").text == "Klasse 4a"
    assert bot.http.get("/static/site.css").status_code == 200


def test_an_unknown_tab_is_no_error_and_no_pane(bot: Visitor) -> None:
    page = bot.page("/articles/?tab=999&kategorie=abc&aufgabe=" + "9" * 5000)
    assert not page.select("#pills-999")
    assert page.select("#pills-101")


def test_an_article_shows_what_is_known_of_it(bot: Visitor) -> None:
    page = bot.page(f"/article/{bot.first_article('101')}/")
    assert re.fullmatch(r".+ von [A-Z]\w+", page.h1.text)
    assert re.fullmatch(r"Aktualisiert am: \d{1,2}\. \w+ \d{4}, \d\d:\d\d Uhr", page.h6.text)
    facts = [item.text.split(": ")[0] for item in page.select("li.list-group-item")]
    assert {"Kategorie", "Aufgabe", "Likes", "Views"} <= set(facts)


def test_the_text_is_in_paragraphs_or_in_the_textarea(bot: Visitor, control: httpx.Client) -> None:
    layouts = set()
    for article in control.get("/articles").json():
        page = bot.page(f"/article/{article['id']}/")
        paragraphs = page.select(".article .highlight-target p")
        layouts.add("paragraphs" if paragraphs else "textarea")
        text = " ".join(p.text for p in paragraphs) or page.select_one("textarea#text-to-speech").text
        assert len(text.split()) >= 30
    assert "paragraphs" in layouts


@pytest.mark.parametrize("path", ["/article/1/", "/article/99999999999999999999/", "/comment/1/", "/nothing"])
def test_what_does_not_exist_is_not_found(bot: Visitor, path: str) -> None:
    assert bot.http.get(path).status_code == 404


def test_times_are_german_and_of_zurich() -> None:
    moment = datetime(2026, 2, 4, 17, 4, tzinfo=UTC)
    with serving(Config(articles=0, new_article_every=1), lambda: moment) as served, Visitor(served.url) as visitor:
        httpx.post(f"{served.url}/control/articles", json={"tab": "1001", "count": 1})
        visitor.log_in("ki-bot")
        page = visitor.page(f"/article/{visitor.first_article('1001')}/")
        assert page.h6.text == "Aktualisiert am: 4. Februar 2026, 18:04 Uhr"
        assert visitor.page("/articles/").select_one("#pills-1001 .article-date").text == "4. Februar 2026"
        visitor.log_in("lehrerin")
        row = visitor.page("/articles/").select("#pills-1001 tbody tr td")
        assert row[6].text == "04.02.2026 um 18:04 Uhr"


def test_new_articles_appear_in_turn_and_begin_again_when_used_up() -> None:
    now = [datetime(2026, 2, 4, 12, tzinfo=UTC)]
    with serving(Config(articles=1, new_article_every=45), lambda: now[0]) as served:
        articles = lambda: httpx.get(f"{served.url}/control/articles").json()  # noqa: E731
        assert len(articles()) == 2
        now[0] += timedelta(seconds=46)
        assert [a["tab"] for a in articles()] == ["101", "102", "101"]
        for _ in range(2 * len(shipped("de"))):
            now[0] += timedelta(seconds=46)
            articles()
        assert any(a["title"].endswith("(2)") for a in articles())
        assert len({a["id"] for a in articles()}) == len(articles()) == 3 + 2 * len(shipped("de"))


def test_a_long_idle_time_brings_one_article_a_class() -> None:
    now = [datetime(2026, 2, 4, 12, tzinfo=UTC)]
    with serving(Config(articles=1, new_article_every=45), lambda: now[0]) as served:
        now[0] += timedelta(days=1)
        assert len(httpx.get(f"{served.url}/control/articles").json()) == 4


def test_bulk_articles_make_their_class(control: httpx.Client, bot: Visitor) -> None:
    made = control.post("/articles", json={"tab": "1001", "count": 500})
    assert made.status_code == 201
    assert sorted(bot.articles("1001")) == made.json()["ids"]
    texts = {a["title"] for a in control.get("/articles").json() if a["tab"] == "1001"}
    assert len(texts) == 500


@pytest.mark.parametrize("asked", [{}, {"tab": "x", "count": 1}, {"tab": "1", "count": 0}, {"tab": "1", "count": "2"}])
def test_bulk_articles_that_make_no_sense_are_refused(control: httpx.Client, asked: dict[str, object]) -> None:
    assert control.post("/articles", json=asked).status_code == 422


def test_the_shipped_texts_are_what_pupils_write() -> None:
    german, english = shipped("de"), shipped("en")
    assert len(german) >= 12
    assert len(english) >= 12
    for text in (*german, *english):
        assert 80 <= len(text.body.split()) <= 250, text.title
        assert text.status in STATUSES
    assert sum(text.status == "publiziert" for text in (*german, *english)) > 20
    assert {school_class.language for school_class in CLASSES.values()} == {"de", "en"}
