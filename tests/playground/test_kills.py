"""Clients that are killed at a chosen moment, seen from both sides."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator

import httpx
import pytest

from playground.serve import Running
from tests.playground.visitor import Visitor

CLIENT = textwrap.dedent("""
    import sys, urllib.request
    url, cookie, token, text = sys.argv[1:]
    sys.stdin.readline()
    body = f"csrfmiddlewaretoken={token}&text={text}&status=20".encode()
    request = urllib.request.Request(url + "/article/4601/comment/", body, {"Cookie": cookie})
    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *args): return None
    try:
        urllib.request.build_opener(Stay).open(request)
    except urllib.error.HTTPError as answer:
        print(answer.code, flush=True)
    sys.stdin.readline()
""")

Start = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(served: Running, bot: Visitor) -> Iterator[Start]:
    """Start a client that posts one comment as soon as it is told to."""
    started = []

    def client(text: str) -> "subprocess.Popen[str]":
        token = bot.token("/article/4601/")
        cookie = "; ".join(f"{name}={value}" for name, value in bot.http.cookies.items())
        command = [sys.executable, "-c", CLIENT, served.url, cookie, token, text]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield client
    for process in started:
        process.kill()
        process.communicate()


def go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin
    process.stdin.write("go\n")
    process.stdin.flush()


@pytest.mark.parametrize(("when", "posted"), [("before_accept", 0), ("after_accept", 1), ("after_answer", 1)])
def test_a_client_is_killed_at_the_chosen_moment(control: httpx.Client, start: Start, when: str, posted: int) -> None:
    client = start(when)
    asked = {"route": "comment", "kind": "kill_client", "when": when, "pid": client.pid}
    assert control.post("/faults", json=asked).status_code == 201
    go(client)
    assert client.wait(5) == -9
    assert [c["text"] for c in control.get("/comments").json()].count(when) == posted
    assert control.get("/faults").json()[0]["fired"] == 1


def test_a_client_can_be_told_apart_from_the_fault(control: httpx.Client, start: Start) -> None:
    client = start("told")
    control.post("/faults", json={"route": "comment", "kind": "kill_client", "when": "after_accept"})
    assert control.post("/client", json={"pid": client.pid}).status_code == 201
    go(client)
    assert client.wait(5) == -9


def test_a_fault_without_a_living_client_waits(control: httpx.Client, start: Start, bot: Visitor) -> None:
    client = start("dead")
    control.post("/client", json={"pid": client.pid})
    client.kill()
    client.wait(5)
    control.post("/faults", json={"route": "any", "kind": "kill_client", "when": "before_accept"})
    assert bot.http.get("/articles/").status_code == 200
    assert control.get("/faults").json()[0]["fired"] == 0


def test_a_client_can_be_killed_at_its_own_requests_only(control: httpx.Client, start: Start, bot: Visitor) -> None:
    client = start("own")
    asked = {"route": "any", "kind": "kill_client", "when": "before_accept", "pid": client.pid, "own_requests": True}
    assert control.post("/faults", json=asked).status_code == 201
    assert bot.http.get("/articles/").status_code == 200
    assert client.poll() is None
    go(client)
    assert client.wait(5) == -9


@pytest.mark.parametrize("pid", [1, 0, -1, None, "2", True, pytest.param(os.getpid(), id="ours"), 2**22 + 1])
def test_no_process_is_killed_that_must_not_be(control: httpx.Client, pid: object) -> None:
    assert control.post("/client", json={"pid": pid}).status_code == 422
    if pid is not None:
        asked = {"route": "any", "kind": "kill_client", "when": "before_accept", "pid": pid}
        assert control.post("/faults", json=asked).status_code == 422


def test_the_process_of_another_user_is_not_killed(control: httpx.Client) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can start a process of another user")
    with subprocess.Popen(["sleep", "30"], user=65534) as other:
        try:
            answer = control.post("/client", json={"pid": other.pid})
            assert answer.status_code == 422
            assert "another user" in answer.json()["error"]
        finally:
            other.kill()
