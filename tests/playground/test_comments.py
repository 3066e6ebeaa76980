import re

import httpx
import pytest

from tests.playground.visitor import TARGET, Visitor


def test_a_comment_is_on_the_page_with_its_id_for_its_author_alone(bot: Visitor, stranger: Visitor) -> None:
    article_id = bot.first_article()
    answer = bot.comment(article_id, "Schöner Text!")
    assert answer.status_code == 302
    assert answer.headers[TARGET].endswith(f"\\article/{article_id}/")
    card = bot.page(f"/article/{article_id}/").select(".comment .card")[-1]
    assert card.select_one("h5.card-title").text == "von ki-bot"
    assert re.fullmatch(r"\d{1,2}\. \w+ \d{4}, \d\d:\d\d", card.h6.text)
    assert card.select_one(".card-text").text == "Schöner Text!"
    link = card.select_one('a[href^="/comment/"]')
    assert link.text == "bearbeiten"
    assert "Schöner Text!" in bot.page(link["href"]).text
    stranger.log_in("ki-bot-2")
    others = stranger.page(f"/article/{article_id}/").select(".comment .card")[-1]
    assert others.select_one(".card-text").text == "Schöner Text!"
    assert not others.select("a")
    assert stranger.http.get(link["href"]).status_code == 404


def test_the_form_is_the_one_that_clients_know(bot: Visitor) -> None:
    article_id = bot.first_article()
    form = bot.page(f"/article/{article_id}/").select_one("form#comment-create")
    assert form["action"] == f"/article/{article_id}/comment/"
    fields = {field["name"] for field in form.select("[name]")}
    assert fields == {"csrfmiddlewaretoken", "text", "status", "hide", "highlight"}
    statuses = {option["value"]: option.text for option in form.select("option")}
    assert statuses == {"10": "Entwurf", "11": "Lehrpersonenkontrolle", "20": "Publiziert", "30": "Archiviert"}


@pytest.mark.parametrize(
    "fields", [{"text": ""}, {"text": "  \n"}, {"text": "<p>&nbsp;</p>"}, {"status": "99"}, {"status": ""}]
)
def test_an_invalid_form_is_shown_again_with_200(bot: Visitor, control: httpx.Client, fields: dict[str, str]) -> None:
    before = control.get("/comments").json()
    answer = bot.comment(bot.first_article(), **({"text": "Gut"} | fields))
    assert answer.status_code == 200
    assert "comment-create" in answer.text
    assert control.get("/comments").json() == before


def test_a_comment_without_a_token_is_forbidden(bot: Visitor) -> None:
    assert bot.http.post("/article/4601/comment/", data={"text": "Hallo", "status": "20"}).status_code == 403


def test_a_comment_on_an_unknown_article_is_not_found(bot: Visitor) -> None:
    form = {"csrfmiddlewaretoken": bot.token("/"), "text": "Hallo", "status": "20"}
    assert bot.http.post("/article/1/comment/", data=form).status_code == 404


@pytest.mark.parametrize("fields", [{"hide": "on"}, {"status": "10"}, {"status": "30"}])
def test_a_hidden_or_unpublished_comment_is_for_its_author_and_teachers(
    bot: Visitor, teacher: Visitor, stranger: Visitor, fields: dict[str, str]
) -> None:
    article_id = bot.articles("101")[1]
    text = f"Nur für wenige {fields}"
    bot.comment(article_id, text, **fields)
    stranger.log_in("ki-bot-2")
    assert text in bot.comments(article_id)
    assert text in teacher.comments(article_id)
    assert text not in stranger.comments(article_id)


def test_formatting_is_kept_and_everything_else_escaped(bot: Visitor) -> None:
    article_id = bot.articles("101")[2]
    bot.comment(article_id, '<p onclick="x()">a</p><p>b <strong>c</strong></p><script>alert(1)</script><img src=x>')
    card = bot.page(f"/article/{article_id}/").select(".comment .card-text")[-1]
    assert [tag.name for tag in card.find_all(True)] == ["p", "strong"]
    assert not card.select_one("p").attrs
    assert "<script>alert(1)</script>" in card.text


def test_a_comment_may_come_as_multipart_too(bot: Visitor, control: httpx.Client) -> None:
    article_id = bot.first_article()
    fields = {"csrfmiddlewaretoken": bot.token("/"), "text": "Aus einem Formular", "status": "20"}
    parts = {name: (None, value) for name, value in fields.items()}
    assert bot.http.post(f"/article/{article_id}/comment/", files=parts).status_code == 302
    kept = control.get("/comments").json()[-1]
    assert (kept["text"], kept["author"], kept["hidden"]) == ("Aus einem Formular", "ki-bot", False)


def test_the_counts_tell_what_was_asked_and_what_took_effect(control: httpx.Client, stranger: Visitor) -> None:
    stranger.log_in("ki-bot-5", "wrong")
    stranger.log_in("ki-bot-5")
    stranger.page("/articles/")
    stranger.comment(4601, "Gezählt")
    stranger.comment(4601, "")
    counts = control.get("/requests").json()
    assert counts["log_ins"] == 1
    assert counts["failed_log_ins"] == 1
    assert counts["index_fetches"] == 1
    assert counts["article_fetches"] == 2
    assert counts["comment_posts"] == 2
    assert counts["comments_accepted"] == 1
    assert counts["by_user"]["ki-bot-5"]["index"] == 1
    assert counts["effects_by_user"]["ki-bot-5"]["comment"] == 1
