import time

import httpx
import pytest

from tests.playground.visitor import LOGIN, Ask, Visitor


def test_a_fault_meets_only_what_it_names(fault: Ask, bot: Visitor, stranger: Visitor) -> None:
    fault(route="article", kind="status", status=500, article_id=4602, times=None)
    fault(route="index", kind="status", status=503, user="ki-bot-2", times=None)
    fault(route="login", kind="status", status=500, method="POST", user="ki-bot-9", times=None)
    stranger.log_in("ki-bot-2")
    assert bot.http.get("/article/4601/").status_code == 200
    assert [bot.http.get("/article/4602/").status_code for _ in range(3)] == [500] * 3
    assert bot.http.get("/articles/").status_code == 200
    assert stranger.http.get("/articles/").status_code == 503
    assert stranger.log_in("ki-bot-9").status_code == 500
    assert stranger.http.get(LOGIN).status_code == 200


def test_faults_are_listed_with_how_often_they_fired_and_can_be_cleared(
    fault: Ask, bot: Visitor, control: httpx.Client
) -> None:
    fault(route="any", kind="latency", seconds=0, times=None)
    fault(route="index", kind="status", status=500, times=1)
    fault(route="index", kind="status", status=502, times=1)
    assert [bot.http.get("/articles/").status_code for _ in range(3)] == [500, 502, 200]
    listed = control.get("/faults").json()
    assert [entry["fired"] for entry in listed] == [3, 1, 1]
    control.delete("/faults")
    assert control.get("/faults").json() == []


def test_a_fault_can_begin_later(fault: Ask, bot: Visitor) -> None:
    fault(route="index", kind="status", status=500, after_s=0.3)
    assert bot.http.get("/articles/").status_code == 200
    time.sleep(0.35)
    assert bot.http.get("/articles/").status_code == 500


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"kind": "unheard-of"},
        {"kind": "status", "route": "nowhere"},
        {"kind": "status", "status": 200},
        {"kind": "status", "colour": "red"},
        {"kind": "cut", "route": "index"},
        {"kind": "kill_client", "pid": 12345},
        {"kind": "drop_before", "when": "after_accept"},
        {"kind": "latency", "seconds": -1},
        {"kind": "drip", "bytes_per_s": 0},
        {"kind": "status", "times": "many"},
    ],
)
def test_what_is_no_fault_is_refused_with_a_reason(control: httpx.Client, asked: dict[str, object]) -> None:
    answer = control.post("/faults", json=asked)
    assert answer.status_code == 422
    assert answer.json()["error"]
    assert control.get("/faults").json() == []


def test_faults_must_be_asked_for_as_json(control: httpx.Client) -> None:
    answer = control.post("/faults", content='{"kind": "status"}', headers={"content-type": "text/plain"})
    assert answer.status_code == 422


def test_the_control_endpoint_has_no_faults(fault: Ask, control: httpx.Client) -> None:
    fault(route="any", kind="drop_before", times=None)
    assert control.get("/comments").status_code == 200
