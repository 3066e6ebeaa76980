import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from playground.accounts import LLM_KEY, LLM_MODEL
from playground.serve import Running
from tests.playground.visitor import LOGIN, TARGET, Ask, Visitor


def chat(
    served: Running,
    prompt: str = "Titel: Der Igel\nEin Igel ist im Garten und frisst Blätter.",
    post: Callable[..., httpx.Response] = httpx.post,
) -> httpx.Response:
    body = {"model": LLM_MODEL, "messages": [{"role": "user", "content": prompt}]}
    headers = {"authorization": f"Bearer {LLM_KEY}"}
    return post(f"{served.llm_url}/chat/completions", json=body, headers=headers, timeout=5)


def choice(answer: httpx.Response) -> dict[str, Any]:
    return answer.json()["choices"][0]


def texts(control: httpx.Client) -> list[str]:
    return [comment["text"] for comment in control.get("/comments").json()]


def test_latency_makes_a_request_wait(fault: Ask, bot: Visitor) -> None:
    fault(route="index", kind="latency", seconds=1.5)
    started = time.monotonic()
    bot.page("/articles/")
    assert time.monotonic() - started >= 1.5
    started = time.monotonic()
    bot.page("/articles/")
    assert time.monotonic() - started < 1.5


def test_a_late_answer_comes_after_the_effect(fault: Ask, bot: Visitor, control: httpx.Client) -> None:
    fault(route="comment", kind="latency", seconds=1.5, when="after_accept")
    bot.http.timeout = 0.3
    with pytest.raises(httpx.ReadTimeout):
        bot.comment(4601, "Zu spät gehört")
    assert texts(control).count("Zu spät gehört") == 1


@pytest.mark.parametrize("status", [403, 404, 500, 502, 503, 529])
def test_a_status_replaces_the_answer_and_nothing_happens(
    fault: Ask, bot: Visitor, control: httpx.Client, status: int
) -> None:
    fault(route="comment", kind="status", status=status)
    text = f"Nie angekommen {status}"
    assert bot.comment(4601, text).status_code == status
    assert text not in texts(control)


def test_a_status_after_acceptance_hides_the_effect(fault: Ask, bot: Visitor, control: httpx.Client) -> None:
    fault(route="comment", kind="status", status=502, when="after_accept")
    assert bot.comment(4601, "Trotzdem da").status_code == 502
    assert texts(control).count("Trotzdem da") == 1


def test_a_rate_limit_says_when_to_come_back(fault: Ask, bot: Visitor, served: Running) -> None:
    fault(route="article", kind="rate_limit", retry_after=7, times=2)
    for _ in range(2):
        answer = bot.http.get("/article/4601/")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert bot.http.get("/article/4601/").status_code == 200
    fault(route="llm", kind="rate_limit", retry_after=3)
    limited = chat(served)
    assert (limited.status_code, limited.headers["retry-after"]) == (429, "3")
    assert limited.json()["error"]["code"] == "rate_limit_exceeded"


def test_a_connection_dropped_before_acceptance_has_no_effect(fault: Ask, bot: Visitor, control: httpx.Client) -> None:
    fault(route="comment", kind="drop_before")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        bot.comment(4601, "Verloren")
    assert "Verloren" not in texts(control)
    assert bot.comment(4601, "Verloren").status_code == 302


def test_a_connection_dropped_after_acceptance_leaves_the_effect(
    fault: Ask, bot: Visitor, control: httpx.Client
) -> None:
    fault(route="comment", kind="drop_after")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
        bot.comment(4601, "Angekommen")
    assert texts(control).count("Angekommen") == 1
    assert "Angekommen" in bot.comments(4601)


def test_a_drop_can_be_a_reset(fault: Ask, bot: Visitor) -> None:
    fault(route="index", kind="drop_after", reset=True)
    with pytest.raises(httpx.ReadError):
        bot.http.get("/articles/")


def test_a_dropped_log_in_has_a_session_that_nobody_holds(fault: Ask, stranger: Visitor, control: httpx.Client) -> None:
    fault(route="login", kind="drop_after", method="POST")
    with pytest.raises(httpx.RemoteProtocolError):
        stranger.log_in("ki-bot-7")
    assert control.get("/requests").json()["log_ins"] == 1
    assert not stranger.is_logged_in


def test_a_drip_keeps_the_connection_alive_and_slow(fault: Ask, bot: Visitor) -> None:
    fault(route="article", kind="drip", bytes_per_s=4000)
    started = time.monotonic()
    answer = bot.http.get("/article/4601/")
    assert time.monotonic() - started > 0.4
    assert answer.text.rstrip().endswith("</html>")


def test_a_truncated_body_is_shorter_than_promised(fault: Ask, bot: Visitor) -> None:
    fault(route="article", kind="truncate")
    with pytest.raises(httpx.RemoteProtocolError, match="peer closed"):
        bot.http.get("/article/4601/")
    assert bot.http.get("/article/4601/").status_code == 200


def test_a_truncated_answer_to_a_comment_leaves_the_effect(fault: Ask, bot: Visitor, control: httpx.Client) -> None:
    fault(route="comment", kind="truncate")
    with pytest.raises(httpx.RemoteProtocolError):
        bot.comment(4601, "Halb beantwortet")
    assert texts(control).count("Halb beantwortet") == 1


def test_an_oversized_body_does_not_say_how_long_it_is(fault: Ask, bot: Visitor) -> None:
    fault(route="article", kind="oversize", mb=3)
    with bot.http.stream("GET", "/article/4601/") as answer:
        assert "content-length" not in answer.headers
        assert sum(len(chunk) for chunk in answer.iter_bytes()) == 3 * 1024 * 1024


def test_a_reader_may_leave_in_the_middle_of_an_oversized_body(fault: Ask, bot: Visitor) -> None:
    fault(route="article", kind="oversize", mb=500)
    with bot.http.stream("GET", "/article/4601/") as answer:
        next(answer.iter_bytes())
    assert bot.http.get("/article/4601/").status_code == 200


def test_malformed_pages_and_answers_arrive_with_200(fault: Ask, bot: Visitor, served: Running) -> None:
    fault(route="article", kind="malformed")
    page = bot.http.get("/article/4601/")
    assert page.status_code == 200
    assert b"</html>" not in page.content
    fault(route="llm", kind="malformed")
    answer = chat(served)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()


def test_a_session_can_expire_at_the_worst_moment(fault: Ask, bot: Visitor, control: httpx.Client) -> None:
    fault(route="comment", kind="expire_session", user="ki-bot")
    answer = bot.comment(4601, "Ohne Sitzung")
    assert answer.status_code == 302
    assert "accounts/login/" in answer.headers[TARGET]
    assert "Ohne Sitzung" not in texts(control)
    assert not bot.is_logged_in
    bot.log_in("ki-bot")
    assert bot.is_logged_in


@pytest.mark.parametrize(
    ("kind", "holds"),
    [
        ("cut", lambda c: c["finish_reason"] == "length" and not c["message"]["content"].endswith((".", "?", "!"))),
        ("obey_injection", lambda c: "https://evil.example" in c["message"]["content"]),
        ("echo_prompt", lambda c: "Ein Igel ist im Garten" in c["message"]["content"]),
        ("too_short", lambda c: len(c["message"]["content"]) < 50),
        ("too_long", lambda c: len(c["message"]["content"]) > 5000),
    ],
)
def test_a_model_goes_wrong_in_a_chosen_way_once(
    fault: Ask, served: Running, kind: str, holds: Callable[[dict[str, Any]], bool]
) -> None:
    fault(kind=kind)
    assert holds(choice(chat(served)))
    assert not holds(choice(chat(served)))


def test_a_right_key_can_turn_wrong(fault: Ask, served: Running) -> None:
    fault(route="llm", kind="wrong_key")
    answer = chat(served)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_calls_to_the_model_at_once_are_counted(fault: Ask, served: Running, control: httpx.Client) -> None:
    fault(route="llm", kind="latency", seconds=2, times=None)
    # One client, made before: on a loaded machine the making alone outlasts a short latency.
    with httpx.Client() as client:
        calls = [threading.Thread(target=chat, args=(served,), kwargs={"post": client.post}) for _ in range(4)]
        for call in calls:
            call.start()
        for call in calls:
            call.join()
    counts = control.get("/requests").json()
    assert (counts["llm_calls"], counts["max_llm_calls_at_once"], counts["llm_calls_at_once"]) == (4, 4, 0)


def test_a_request_that_breaks_off_in_its_body_is_not_accepted(bot: Visitor, control: httpx.Client) -> None:
    token = bot.token("/article/4601/")
    cookie = "; ".join(f"{name}={value}" for name, value in bot.http.cookies.items())
    body = f"csrfmiddlewaretoken={token}&status=20&text=Nur+ein+Te"
    head = f"POST /article/4601/comment/ HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\n"
    head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body) + 2}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", bot.http.base_url.port)) as raw:
        raw.sendall((head + body).encode())
    time.sleep(0.1)
    assert "Nur ein Te" not in texts(control)


def test_many_dropped_connections_leave_the_server_well(fault: Ask, served: Running, control: httpx.Client) -> None:
    fault(route="any", kind="drop_after", times=100)
    port = int(served.url.rsplit(":", 1)[1])
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(b"GET /articles/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert raw.recv(100) == b""
    assert control.get("/faults").json()[0]["fired"] == 100
    assert httpx.get(f"{served.url}{LOGIN}").status_code == 200
