from datetime import UTC, datetime, timedelta

import httpx
import pytest

from playground import csrf
from playground.accounts import ACCOUNTS, BOTS
from playground.config import Config
from playground.serve import Running, serving
from tests.playground.visitor import LOGIN, TARGET, Visitor


def test_the_form_carries_a_token_and_the_cookie_another_form_of_it(stranger: Visitor) -> None:
    page = stranger.page(LOGIN)
    form = page.select_one("form[method=post]")
    assert not form.has_attr("action")
    assert {field["name"] for field in form.select("input")} == {"csrfmiddlewaretoken", "next", "username", "password"}
    assert form.select_one("[name=username]")["maxlength"] == "150"
    secret = stranger.http.cookies["csrftoken"]
    assert form.select_one("[name=csrfmiddlewaretoken]")["value"] != secret
    assert stranger.token() != stranger.token()
    assert stranger.http.cookies["csrftoken"] == secret


def test_the_right_password_logs_in(stranger: Visitor) -> None:
    assert not stranger.is_logged_in
    assert stranger.log_in("ki-bot-2").status_code == 302
    assert stranger.is_logged_in


def test_the_cookie_itself_is_a_good_token(stranger: Visitor) -> None:
    stranger.http.get(LOGIN)
    form = {"csrfmiddlewaretoken": stranger.http.cookies["csrftoken"], "username": "mila", "password": "demo-mila"}
    assert stranger.http.post(LOGIN, data=form).status_code == 302


@pytest.mark.parametrize(("username", "password"), [("ki-bot", "wrong"), ("nobody", "demo-nobody"), ("", "")])
def test_a_wrong_password_shows_the_form_again(stranger: Visitor, username: str, password: str) -> None:
    answer = stranger.log_in(username, password or " ")
    assert answer.status_code == 200
    assert 'name="password"' in answer.text
    assert not stranger.is_logged_in


@pytest.mark.parametrize("token", [None, "", "x", "a" * 32, "a" * 64, "ä" * 64])
def test_a_wrong_token_is_forbidden(stranger: Visitor, token: str | None) -> None:
    stranger.http.get(LOGIN)
    form = {"username": "ki-bot", "password": "demo-ki-bot"}
    form |= {} if token is None else {"csrfmiddlewaretoken": token}
    assert stranger.http.post(LOGIN, data=form).status_code == 403


def test_a_token_without_its_cookie_is_forbidden(stranger: Visitor) -> None:
    token = stranger.token()
    stranger.http.cookies.clear()
    form = {"csrfmiddlewaretoken": token, "username": "ki-bot", "password": "demo-ki-bot"}
    assert stranger.http.post(LOGIN, data=form).status_code == 403


def test_a_token_from_before_the_log_in_is_worth_nothing_after_it(stranger: Visitor) -> None:
    old = stranger.token()
    stranger.log_in("ki-bot")
    assert stranger.http.post("/accounts/logout/", data={"csrfmiddlewaretoken": old}).status_code == 403


def test_the_log_in_leads_to_next_but_never_to_another_site(stranger: Visitor) -> None:
    assert stranger.log_in("ki-bot", target="/articles/").headers[TARGET].endswith("\\articles/")
    for elsewhere in ("//evil.example/", "https://evil.example/", "/\\evil.example/", "/\r\nX: 1"):
        location = stranger.log_in("ki-bot", target=elsewhere).headers[TARGET]
        assert "evil" not in location
        assert location.endswith("\\")


def test_redirects_carry_the_port_and_a_backslash(served: Running, stranger: Visitor) -> None:
    answer = stranger.http.get("/articles/")
    assert answer.status_code == 302
    assert answer.headers[TARGET] == f"{served.url}\\accounts/login/?next=/articles/"


def test_the_backslash_can_be_switched_off() -> None:
    with serving(Config(backslash_redirects=False)) as served:
        assert httpx.get(f"{served.url}/articles/").headers["location"] == "/accounts/login/?next=/articles/"


@pytest.mark.parametrize("path", ["/", "/articles/", "/article/4601/", "/comment/9001/"])
def test_every_page_asks_a_stranger_to_log_in(stranger: Visitor, path: str) -> None:
    assert "accounts/login/" in stranger.http.get(path).headers[TARGET]


def test_logging_out_ends_the_session(stranger: Visitor) -> None:
    stranger.log_in("ki-bot-3")
    stranger.http.post("/accounts/logout/", data={"csrfmiddlewaretoken": stranger.token("/")})
    assert not stranger.is_logged_in


def test_an_expired_session_redirects_even_a_post_and_the_comment_is_not_kept() -> None:
    now = [datetime(2026, 2, 4, 17, 4, tzinfo=UTC)]
    with serving(Config(session_seconds=60), lambda: now[0]) as served, Visitor(served.url) as visitor:
        visitor.log_in("ki-bot")
        token = visitor.token("/article/4601/")
        now[0] += timedelta(seconds=61)
        form = {"csrfmiddlewaretoken": token, "text": "Hallo", "status": "20"}
        answer = visitor.http.post("/article/4601/comment/", data=form)
        assert answer.status_code == 302
        assert "accounts/login/" in answer.headers[TARGET]
        assert visitor.http.get("/article/4601/").status_code == 302
        assert httpx.get(f"{served.url}/control/comments").json() == []
        visitor.log_in("ki-bot")
        assert visitor.is_logged_in


def test_there_are_twelve_bots_and_a_teacher() -> None:
    assert [bot.username for bot in BOTS] == ["ki-bot", *(f"ki-bot-{n}" for n in range(2, 13))]
    assert ACCOUNTS["lehrerin"].role == "teacher"
    assert all(account.password == f"demo-{name}" for name, account in ACCOUNTS.items())


def test_another_host_name_does_not_lead_here(served: Running) -> None:
    assert httpx.get(f"{served.url}/control/comments", headers={"host": "evil.example"}).status_code == 400


def test_every_masked_token_matches_its_secret_and_no_other() -> None:
    secret, other = csrf.new_secret(), csrf.new_secret()
    assert csrf.matches(secret, csrf.mask(secret))
    assert not csrf.matches(other, csrf.mask(secret))
